//! The public interface of the CUDA backend: a network on one or more GPUs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use weights::{Checkpoint, Preprocessing};

use super::gpu::{self, Gpu, GpuProperties};
use super::lanes::{GpuResources, Lanes};
use super::libraries;
use super::network::Network;
use super::placement::Placement;
use super::tune::Tuner;
use super::weights::Weights;
use crate::backend::{Backend, BackendInfo, Input, StepObserver, Usage};
use crate::class_map::ClassWeights;
use crate::cost::Cost;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::options::{EngineChoice, Tuning};
use crate::outputs::{Output, Outputs};

/// A network loaded on one or more GPUs. Threads can share it: `forward` takes
/// `&self` and runs on the next idle lane.
pub struct CudaPlan {
    network: Arc<Network>,
    gpus: Vec<GpuProperties>,
    device: Device,
    lanes: Lanes,
}

impl CudaPlan {
    /// Reads, folds and uploads the weights of `graph` once per GPU, and creates
    /// the lanes.
    ///
    /// # Errors
    /// A GPU cannot be used or does not have enough memory; a parameter is
    /// missing or has the wrong shape.
    pub fn new(
        graph: &Graph,
        checkpoint: &Checkpoint,
        preprocessing: &Preprocessing,
        placement: &Placement,
    ) -> Result<Self> {
        let network = Arc::new(Network::new(graph, preprocessing, placement.dtype)?);
        let mut resources = HashMap::new();
        let mut gpus = Vec::new();
        for &ordinal in &placement.gpus {
            let load = || {
                let gpu = Gpu::open(ordinal, placement.dtype)?;
                let weights = Weights::new(&network, checkpoint, &gpu)?;
                Ok((gpu, weights))
            };
            let (gpu, weights) = load().map_err(|error| add_memory_sizes(error, &network))?;
            let tuner = match &placement.tuning {
                Tuning::Guess => Tuner::heuristic(),
                Tuning::Measure(folder) => Tuner::measured(&gpu.properties.name, folder.as_deref()),
            };
            gpus.push(gpu.properties.clone());
            let shared = GpuResources {
                gpu,
                weights: Arc::new(weights),
                tuner: Arc::new(tuner),
            };
            resources.insert(ordinal, shared);
        }
        Ok(Self {
            lanes: Lanes::new(&network, resources, placement)?,
            network,
            gpus,
            device: Device::Cuda(placement.gpus.clone()),
        })
    }

    /// Why no GPU can be used, or `None` if at least one can be opened.
    #[must_use]
    pub fn missing() -> Option<String> {
        libraries::missing()
    }

    /// The versions of the driver and of cuDNN, as text.
    #[must_use]
    pub fn versions() -> String {
        libraries::versions()
    }

    /// Properties of the GPUs that the network runs on.
    #[must_use]
    pub fn gpus(&self) -> &[GpuProperties] {
        &self.gpus
    }

    /// Memory in use on all GPUs of the network in bytes, including the memory of
    /// other processes.
    #[must_use]
    pub fn memory_in_use(&self) -> usize {
        let used = self.lanes.resources().filter_map(|shared| {
            let (free, total) = shared.gpu.context().mem_get_info().ok()?;
            total.checked_sub(free)
        });
        used.sum()
    }

    /// The compute capability of the GPUs, such as `sm_90`. A comma-separated list
    /// if the GPUs have different ones.
    fn isa(&self) -> String {
        let each = self.gpus.iter().map(|gpu| gpu.capability);
        let distinct: BTreeSet<_> = each.collect();
        let names = distinct
            .into_iter()
            .map(|(major, minor)| format!("sm_{major}{minor}"));
        names.collect::<Vec<_>>().join(",")
    }

    /// Splits the planes of a batch into batches of at most the largest size.
    fn parts<'a>(&self, planes: &'a [f32]) -> Result<std::slice::Chunks<'a, f32>> {
        Input::Planes(planes).images(self.network.side())?;
        Ok(planes.chunks(self.lanes.largest() * self.network.pixel_bytes()))
    }
}

impl Backend for CudaPlan {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            engine: EngineChoice::Fused,
            device: self.device.clone(),
            dtype: self.network.dtype,
            isa: self.isa(),
        }
    }

    fn graph(&self) -> &Graph {
        &self.network.graph
    }

    /// A batch above the largest size runs in parts.
    fn forward(&self, input: Input, outputs: Outputs) -> Result<Output> {
        let requested = self.network.outputs.requested(outputs)?;
        let mut output = Output::empty(outputs);
        match input {
            Input::Pixels(images) => {
                input.images(self.network.side())?;
                for part in images.chunks(self.lanes.largest()) {
                    output.append(self.lanes.run(|lane| lane.forward(part, requested))?);
                }
            }
            Input::Planes(planes) => {
                for part in self.parts(planes)? {
                    let pass = self
                        .lanes
                        .run(|lane| lane.forward_planes(part, requested, None))?;
                    output.append(pass);
                }
            }
        }
        Ok(output)
    }

    fn forward_timed(&self, planes: &[f32], observe: StepObserver) -> Result<Output> {
        let requested = self.network.outputs.requested(Outputs::LOGITS)?;
        let mut output = Output::empty(Outputs::LOGITS);
        for part in self.parts(planes)? {
            let pass = self
                .lanes
                .run(|lane| lane.forward_planes(part, requested, Some(&mut *observe)))?;
            output.append(pass);
        }
        Ok(output)
    }

    /// From the first GPU; all have the same weights.
    fn class_weights(&self, class: usize) -> Result<ClassWeights> {
        let shared = self.lanes.resources().next();
        let shared = shared.ok_or_else(|| Error::Internal("a network on no GPU".into()))?;
        shared.weights.of_class(&self.network, class, &shared.gpu)
    }

    fn steps(&self) -> Vec<Cost> {
        let weights = self.lanes.resources().next().map(|s| &s.weights);
        let bytes = |step| weights.map_or(0, |w| w.of(step).bytes());
        self.network.costs(bytes, |step| self.lanes.engine(step))
    }

    fn weight_bytes(&self) -> usize {
        let mut resources = self.lanes.resources();
        resources.next().map_or(0, |shared| shared.weights.bytes())
    }

    /// Device memory of the arena of one lane.
    fn arena_bytes(&self, n: usize) -> usize {
        self.network.slot_bytes(n).sum()
    }

    fn peak(&self) -> Option<f64> {
        let dtype = self.network.dtype;
        Some(self.gpus.iter().map(|gpu| gpu.peak(dtype)).sum())
    }

    fn streams(&self) -> usize {
        self.lanes.usable()
    }

    fn failure(&self) -> Option<String> {
        self.lanes.failure()
    }

    fn take_usage(&self) -> Option<Usage> {
        let time = self.lanes.take_time();
        Some(Usage {
            upload: time.upload,
            compute: time.compute,
            memory: self.memory_in_use(),
        })
    }

    fn is_untested(&self) -> bool {
        true
    }

    fn batch_sizes(&self) -> Vec<usize> {
        self.lanes.sizes().to_vec()
    }
}

/// Adds the size of the weights, the free memory and a remedy to an out-of-memory
/// error. Returns other errors unchanged.
fn add_memory_sizes(error: Error, network: &Network) -> Error {
    let ordinal = match error {
        Error::Cuda { ordinal, error } if error.is_out_of_memory() => ordinal,
        other => return other,
    };
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let available = match gpu::memory(ordinal) {
        Some((free, total)) => format!(
            "{:.1} MB of {:.1} MB are free",
            megabytes(free),
            megabytes(total)
        ),
        None => "the driver does not report the free memory".into(),
    };
    let remedy = match network.dtype {
        Dtype::F32 => "f16, which needs half as much, or another GPU",
        _ => "another GPU, or free memory on this one",
    };
    Error::Device {
        device: format!("cuda:{ordinal}"),
        reason: format!(
            "out of memory while loading the weights: they need {:.1} MB in {}, and {available}; \
             use {remedy}",
            megabytes(Weights::needed(network)),
            network.dtype.name(),
        ),
    }
}
