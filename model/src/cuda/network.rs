//! The parts of a network that do not depend on a GPU: the fused steps, and the
//! arena slot of every value.

use std::cmp::Reverse;

use weights::Preprocessing;

use super::tensor::padded;
use crate::cost::{self, Cost};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::fuse::{Kind, Step, fuse};
use crate::graph::{Graph, Value};
use crate::outputs::OutputValues;

/// The steps and arena slots of a graph.
pub(super) struct Network {
    /// The graph before fusion.
    pub(super) graph: Graph,
    /// The steps in execution order; the first one produces the network's input.
    pub(super) steps: Vec<Step>,
    /// The dtype of weights and feature maps.
    pub(super) dtype: Dtype,
    /// Mean of the pixels per channel.
    pub(super) mean: [f32; 3],
    /// Standard deviation of the pixels per channel.
    pub(super) std: [f32; 3],
    /// The values that a pass can return. Their slots are not reused before its
    /// end.
    pub(super) outputs: OutputValues,
    /// Slot of each value; `None` for values inside a fused step.
    slots: Vec<Option<usize>>,
    /// Size of each slot in values per image.
    sizes: Vec<usize>,
}

impl Network {
    /// Fuses `graph` into steps and assigns its values to slots.
    ///
    /// # Errors
    /// The graph cannot be fused into steps; the CUDA backend does not support the
    /// dtype.
    pub(super) fn new(graph: &Graph, preprocessing: &Preprocessing, dtype: Dtype) -> Result<Self> {
        let dtype = dtype.check_on_gpu()?;
        let steps = fuse(graph)?;
        let outputs = OutputValues::of(graph);
        let (slots, sizes) = lay_out(graph, &steps, outputs);
        Ok(Self {
            graph: graph.clone(),
            steps,
            dtype,
            mean: preprocessing.mean,
            std: preprocessing.std,
            outputs,
            slots,
            sizes,
        })
    }

    /// The slot of a value; `None` for a value inside a fused step.
    pub(super) fn slot(&self, value: Value) -> Option<usize> {
        self.slots[value]
    }

    /// Size of each slot in bytes for a batch of `n`.
    pub(super) fn slot_bytes(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        self.sizes
            .iter()
            .map(move |size| size * n * self.dtype.bytes())
    }

    /// The cost of each step. `weight_bytes` and `engine` return the size of a
    /// step's weights and its cuDNN engine.
    pub(super) fn costs(
        &self,
        weight_bytes: impl Fn(usize) -> usize,
        engine: impl Fn(usize) -> Option<String>,
    ) -> Vec<Cost> {
        let cost = |(index, step): (usize, &Step)| {
            let shape = self.graph.shape(step.output);
            let values = step.inputs.iter().chain([&step.output]);
            Cost {
                name: cost::name(&self.graph, &step.kind),
                output: [shape.channels, shape.height, shape.width],
                multiply_adds: match step.kind {
                    Kind::Conv { node, .. } | Kind::Linear { node } => {
                        self.graph.multiply_adds_of(node)
                    }
                    _ => 0,
                },
                moved_bytes: values.map(|&v| values_of(&self.graph, v)).sum::<usize>()
                    * self.dtype.bytes(),
                weight_bytes: weight_bytes(index),
                slot: self.slot(step.output),
                runs_as: engine(index).unwrap_or_else(|| runs_as(&step.kind).into()),
            }
        };
        self.steps.iter().enumerate().map(cost).collect()
    }

    /// Height and width of the input.
    pub(super) fn side(&self) -> usize {
        self.graph.shape(0).height
    }

    /// Size of an RGB image in bytes.
    pub(super) fn pixel_bytes(&self) -> usize {
        3 * self.side() * self.side()
    }

    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        self.graph.shape(self.graph.output()).channels
    }
}

/// The kernel or library that runs a step.
fn runs_as(kind: &Kind) -> &'static str {
    match kind {
        Kind::Input => "pixels",
        Kind::Conv { .. } | Kind::Linear { .. } => "cudnn",
        Kind::BatchNorm { .. } => "scale_shift",
        Kind::GroupNorm { .. } => "group_norm",
        Kind::MaxPool { .. } => "max_pool",
        Kind::AvgPool { .. } => "average_pool",
        Kind::BlurPool => "blur_pool",
        Kind::ZeroPad { .. } => "zero_pad",
        Kind::GlobalAvgPool => "global_average_pool",
        Kind::ChannelConv { .. } => "channel_conv",
        Kind::Excite { .. } => "excite",
        Kind::Highway => "highway",
    }
}

/// Stored values of one image's feature map, padding included.
fn values_of(graph: &Graph, value: Value) -> usize {
    let shape = graph.shape(value);
    padded(shape.channels) * shape.height * shape.width
}

/// Assigns slots by liveness. A step's output takes the smallest free slot that is
/// large enough, or else the largest free slot, which is enlarged.
fn lay_out(
    graph: &Graph,
    steps: &[Step],
    outputs: OutputValues,
) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut last_read = vec![0; graph.nodes.len()];
    for (at, step) in steps.iter().enumerate() {
        last_read[step.output] = at;
        step.inputs.iter().for_each(|&v| last_read[v] = at);
    }
    for value in outputs.kept() {
        last_read[value] = steps.len();
    }
    let mut slots = vec![None; graph.nodes.len()];
    let mut sizes: Vec<usize> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let size = values_of(graph, step.output);
        let best = (0..free.len()).min_by_key(|&i| match sizes[free[i]] {
            // `Ok` sorts before `Err`: first the smallest slot that is large enough,
            // then the largest slot
            capacity if capacity >= size => Ok(capacity),
            capacity => Err(Reverse(capacity)),
        });
        let slot = match best {
            Some(i) => free.swap_remove(i),
            None => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[slot] = sizes[slot].max(size);
        slots[step.output] = Some(slot);
        let mut ended: Vec<usize> = step
            .inputs
            .iter()
            .filter(|&&v| last_read[v] == at)
            .filter_map(|&v| slots[v])
            .collect();
        ended.sort_unstable();
        ended.dedup();
        free.extend(ended);
    }
    (slots, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::build, family};

    #[test]
    fn no_step_overwrites_a_live_value() {
        for row in family::FAMILY.iter() {
            let graph = build(row, row.input, row.classes);
            let network = Network::new(&graph, &Preprocessing::imagenet(), Dtype::F16).unwrap();
            // the value in each slot while the steps run
            let mut contents = std::collections::HashMap::new();
            for step in &network.steps {
                for &v in &step.inputs {
                    assert_eq!(contents[&network.slot(v)], v, "{}: {step:?}", row.name);
                    assert_ne!(network.slot(v), network.slot(step.output));
                }
                contents.insert(network.slot(step.output), step.output);
            }
            for v in network.outputs.kept() {
                assert_eq!(contents[&network.slot(v)], v, "{}: an output", row.name);
            }
        }
    }
}
