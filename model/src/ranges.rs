//! What the bytes of a quantised network mean: each step's output has a range,
//! told by the checkpoint, and 256 numbers are spread over it.

use std::collections::HashMap;

use weights::Checkpoint;

use crate::cost;
use crate::cpu::Affine;
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step};
use crate::graph::Graph;

/// The names under which the steps' ranges are kept: the layer's, with a count
/// where several steps have one name.
pub(crate) fn keys<'a>(graph: &Graph, steps: impl IntoIterator<Item = &'a Step>) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let key = |step: &Step| {
        let layer = cost::layer(graph, &step.kind).to_owned();
        let before = seen.entry(layer.clone()).or_default();
        *before += 1;
        match *before {
            1 => layer,
            count => format!("{layer} {count}"),
        }
    };
    steps.into_iter().map(key).collect()
}

/// What the bytes of each value mean, indexed by value.
///
/// # Errors
/// A checkpoint without ranges, or without one of them.
pub(crate) fn affines(
    graph: &Graph,
    steps: &[Step],
    checkpoint: &Checkpoint,
) -> Result<Vec<Affine>> {
    let Some(ranges) = &checkpoint.facts().ranges else {
        return Err(Error::Option {
            option: "dtype int8".into(),
            reason: format!(
                "{} is not quantised; `resnet quantize` makes a checkpoint that is",
                checkpoint.name()
            ),
        });
    };
    let mut affines = vec![Affine::IDENTITY; graph.nodes.len()];
    for (step, key) in steps.iter().zip(keys(graph, steps)) {
        affines[step.output] = match step.kind {
            // logits are floats
            Kind::Linear { .. } => Affine::IDENTITY,
            // picks from what there is
            Kind::MaxPool { .. } => affines[step.inputs[0]],
            _ => {
                let [low, high] = *ranges.get(&key).ok_or_else(|| Error::Option {
                    option: "dtype int8".into(),
                    reason: format!("{} has no range for `{key}`", checkpoint.name()),
                })?;
                Affine::covering(low, high)
            }
        };
    }
    Ok(affines)
}
