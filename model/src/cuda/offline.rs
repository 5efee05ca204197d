//! Plans for GPUs that are not in this machine. From version 9.8 on, cuDNN
//! plans from a JSON description of a GPU, so the real library can check the
//! graphs of `dnn` on a machine without a GPU.

use std::collections::HashSet;

use weights::Preprocessing;

use super::dnn::{CudnnDeviceProperties, EngineConfigs, PlanTarget};
use super::error::CudaError;
use super::network::Network;
use super::program::convolution;
use super::tune::{first_usable, split_until_usable};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// The result of planning one convolution.
#[derive(Debug)]
pub struct PlannedConvolution {
    /// Description of the convolution.
    pub convolution: String,
    /// Number of engine configurations that cuDNN returned for it, or for a
    /// part of its batch.
    pub engines: usize,
    /// Number of parts that the batch is split into; 0 if no plan was found.
    pub parts: usize,
    /// Index of the first usable engine configuration and its workspace in
    /// bytes, or the error if none is usable.
    pub plan: Result<(usize, usize), CudaError>,
}

/// Creates a cuDNN plan for every distinct convolution of `graphs`, at each batch
/// size in `batches`. `properties` is cuDNN's JSON description of a GPU, which
/// need not be present.
///
/// # Errors
/// cuDNN rejects `properties`; a graph cannot be fused into steps.
pub fn plan_for(
    properties: &str,
    graphs: &[Graph],
    batches: &[usize],
    dtype: Dtype,
) -> Result<Vec<PlannedConvolution>> {
    let properties = CudnnDeviceProperties::new(properties).map_err(|error| Error::Device {
        device: "offline".into(),
        reason: error.to_string(),
    })?;
    let target = PlanTarget::Properties(&properties);
    let mut seen = HashSet::new();
    let mut planned = Vec::new();
    for graph in graphs {
        let network = Network::new(graph, &Preprocessing::imagenet(), dtype)?;
        for (step, &n) in network
            .steps
            .iter()
            .flat_map(|step| batches.iter().map(move |n| (step, n)))
        {
            let Some(convolution) = convolution(&network, step, n) else {
                continue;
            };
            if !seen.insert(convolution) {
                continue;
            }
            let mut engines = 0;
            let chosen = split_until_usable(convolution, |part| {
                let configs = EngineConfigs::new(target, part, dtype)?;
                engines = configs.len();
                first_usable(target, &configs, part, dtype)
            });
            planned.push(PlannedConvolution {
                convolution: convolution.to_string(),
                engines,
                parts: chosen.as_ref().map_or(0, |plan| n / plan.images()),
                plan: chosen.map(|plan| (plan.engine(), plan.workspace())),
            });
        }
    }
    Ok(planned)
}
