//! How cuDNN would run networks on a card that need not be here: from 9.8 on it
//! plans from written properties. With it the graphs of `dnn` are checked by
//! the real library on a machine without a card.

use std::collections::HashSet;

use weights::Recipe;

use super::dnn::{Engines, Properties, Target};
use super::fault::Fault;
use super::network::Network;
use super::number::Number;
use super::program::convolution;
use super::tune::{first, in_parts};
use crate::error::{Error, Result};
use crate::graph::Graph;

/// What came of one convolution.
#[derive(Debug)]
pub struct Planned {
    /// The convolution, in words.
    pub convolution: String,
    /// Engines that cuDNN names for it, or for a part of its batch.
    pub engines: usize,
    /// In how many parts its batch runs; none where no plan does.
    pub parts: usize,
    /// Which of them is the first that does, and its workspace in bytes; or why
    /// none does.
    pub plan: Result<(usize, usize), Fault>,
}

/// Plans every convolution of `graphs` in batches of `batches`, each once, for
/// the card that `properties` describes in cuDNN's JSON.
///
/// # Errors
/// Properties that cuDNN does not take; a graph that no steps cover.
pub fn plan_for(
    properties: &str,
    graphs: &[Graph],
    batches: &[usize],
    number: Number,
) -> Result<Vec<Planned>> {
    let properties = Properties::new(properties).map_err(|fault| Error::Device {
        device: "elsewhere".into(),
        reason: fault.to_string(),
    })?;
    let target = Target::Properties(&properties);
    let mut seen = HashSet::new();
    let mut planned = Vec::new();
    for graph in graphs {
        let network = Network::new(graph, &Recipe::imagenet(), number)?;
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
            let chosen = in_parts(convolution, |part| {
                let found = Engines::new(target, part, number)?;
                engines = found.len();
                first(target, &found, part, number)
            });
            planned.push(Planned {
                convolution: convolution.to_string(),
                engines,
                parts: chosen.as_ref().map_or(0, |plan| n / plan.images()),
                plan: chosen.map(|plan| (plan.engine(), plan.workspace())),
            });
        }
    }
    Ok(planned)
}
