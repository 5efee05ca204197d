//! The quantisation parameters of a quantised network. The checkpoint records
//! the range of each step's output; 256 values cover it.

use std::collections::HashMap;

use weights::Checkpoint;

use crate::cost;
use crate::cpu::Affine;
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step};
use crate::graph::Graph;

/// The keys of the steps' ranges: the layer's name, followed by a count if
/// several steps have that name.
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

/// The quantisation parameters of each value, indexed by value.
///
/// # Errors
/// If the checkpoint has no ranges, or one of them is missing.
pub(crate) fn affines(
    graph: &Graph,
    steps: &[Step],
    checkpoint: &Checkpoint,
) -> Result<Vec<Affine>> {
    let Some(ranges) = &checkpoint.metadata().ranges else {
        return Err(Error::Option {
            option: "dtype int8".into(),
            reason: format!(
                "{} is not quantised; create a quantised checkpoint with `resnet quantize`",
                checkpoint.name()
            ),
        });
    };
    let mut affines = vec![Affine::IDENTITY; graph.nodes.len()];
    for (step, key) in steps.iter().zip(keys(graph, steps)) {
        affines[step.output] = match step.kind {
            // logits are f32
            Kind::Linear { .. } => Affine::IDENTITY,
            // max pooling returns values of its input
            Kind::MaxPool { .. } => affines[step.inputs[0]],
            _ => {
                let [low, high] = *ranges.get(&key).ok_or_else(|| Error::Option {
                    option: "dtype int8".into(),
                    reason: format!(
                        "{} has no range for `{key}`; create it again with `resnet quantize`",
                        checkpoint.name()
                    ),
                })?;
                Affine::covering(low, high)
            }
        };
    }
    Ok(affines)
}
