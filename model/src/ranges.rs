//! The quantization parameters of an int8 network. The metadata of the checkpoint
//! has the range of the output of each step, which is mapped to 0..=255.

use std::collections::HashMap;

use weights::Checkpoint;

use crate::cost;
use crate::cpu::Affine;
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step};
use crate::graph::Graph;

/// The keys of the ranges in the metadata: the names of the layers. If several
/// steps have the same name, the second has the key `NAME 2`, and so on.
pub(crate) fn keys<'a>(graph: &Graph, steps: impl IntoIterator<Item = &'a Step>) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let key = |step: &Step| {
        let layer = cost::layer(graph, &step.kind).to_owned();
        let count = counts.entry(layer.clone()).or_default();
        *count += 1;
        match *count {
            1 => layer,
            count => format!("{layer} {count}"),
        }
    };
    steps.into_iter().map(key).collect()
}

/// The quantization parameters of each value, indexed by value.
///
/// # Errors
/// A checkpoint without ranges, or without the range of a step.
pub(crate) fn affines(
    graph: &Graph,
    steps: &[Step],
    checkpoint: &Checkpoint,
) -> Result<Vec<Affine>> {
    let Some(ranges) = &checkpoint.metadata().ranges else {
        return Err(Error::Option {
            option: "dtype int8".into(),
            reason: format!(
                "{} is not quantized; create a quantized checkpoint with `resnet quantize`",
                checkpoint.name()
            ),
        });
    };
    let mut affines = vec![Affine::IDENTITY; graph.nodes.len()];
    for (step, key) in steps.iter().zip(keys(graph, steps)) {
        affines[step.output] = match step.kind {
            // the logits are f32
            Kind::Linear { .. } => Affine::IDENTITY,
            // the output of max pooling keeps the quantization of its input
            Kind::MaxPool { .. } => affines[step.inputs[0]],
            // so does an average, if the checkpoint has no range for it
            Kind::GlobalAvgPool if !ranges.contains_key(&key) => affines[step.inputs[0]],
            _ => {
                let [low, high] = *ranges.get(&key).ok_or_else(|| Error::Option {
                    option: "dtype int8".into(),
                    reason: format!(
                        "{} has no range for layer `{key}`; create it again with `resnet quantize`",
                        checkpoint.name()
                    ),
                })?;
                Affine::covering(low, high)
            }
        };
    }
    Ok(affines)
}
