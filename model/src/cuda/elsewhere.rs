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
use super::tune::first;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// What came of one convolution.
#[derive(Debug)]
pub struct Planned {
    /// The convolution, in words.
    pub convolution: String,
    /// Engines that cuDNN names for it.
    pub engines: usize,
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
            let engines = Engines::new(target, convolution, number);
            planned.push(Planned {
                convolution: convolution.to_string(),
                engines: engines.as_ref().map_or(0, Engines::len),
                plan: engines.and_then(|engines| {
                    let (index, plan) = first(target, &engines, convolution, number)?;
                    Ok((index, plan.workspace()))
                }),
            });
        }
    }
    Ok(planned)
}
