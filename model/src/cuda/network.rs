//! What runs, whatever card it runs on: the fused steps, and for each value the
//! slot of a lane's arena that holds it.

use weights::Recipe;

use super::map::padded;
use super::number::Number;
use crate::cost::{self, Cost};
use crate::error::Result;
use crate::fuse::{Kind, Step, fuse};
use crate::graph::{Graph, Value};

/// Steps and slots of a graph.
pub(super) struct Network {
    /// What it computes.
    pub(super) graph: Graph,
    /// In the order they run; the first makes the stem's input.
    pub(super) steps: Vec<Step>,
    /// How values are stored.
    pub(super) number: Number,
    /// Mean of the pixels, per channel.
    pub(super) mean: [f32; 3],
    /// Their deviation.
    pub(super) std: [f32; 3],
    /// Slot of each value; `usize::MAX` for what fusion swallowed.
    slots: Vec<usize>,
    /// Values an image needs in each slot.
    sizes: Vec<usize>,
}

impl Network {
    /// Fuses `graph` and lays its values out.
    ///
    /// # Errors
    /// A graph that no steps cover.
    pub(super) fn new(graph: &Graph, recipe: &Recipe, number: Number) -> Result<Self> {
        let steps = fuse(graph)?;
        let (slots, sizes) = lay_out(graph, &steps);
        Ok(Self {
            graph: graph.clone(),
            steps,
            number,
            mean: recipe.mean,
            std: recipe.std,
            slots,
            sizes,
        })
    }

    /// The slot of a value.
    pub(super) fn slot(&self, value: Value) -> usize {
        self.slots[value]
    }

    /// Bytes of each slot for a batch of `n`.
    pub(super) fn slot_bytes(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        self.sizes
            .iter()
            .map(move |size| size * n * self.number.bytes())
    }

    /// The cost of each step; `weight_bytes` tells that of its weights, and
    /// `engine` what of cuDNN's runs it.
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
                    * self.number.bytes(),
                weight_bytes: weight_bytes(index),
                slot: self.slot(step.output),
                runs_as: engine(index).unwrap_or_else(|| runs_as(&step.kind).into()),
            }
        };
        self.steps.iter().enumerate().map(cost).collect()
    }

    /// The value that holds the logits.
    pub(super) fn logits(&self) -> Value {
        self.steps.last().map_or(0, |step| step.output)
    }

    /// Side of the input.
    pub(super) fn side(&self) -> usize {
        self.graph.shape(0).height
    }

    /// Bytes of an image's pixels.
    pub(super) fn pixel_bytes(&self) -> usize {
        3 * self.side() * self.side()
    }

    /// Number of outputs.
    pub(super) fn classes(&self) -> usize {
        self.graph.shape(self.graph.output()).channels
    }
}

/// What runs a step.
fn runs_as(kind: &Kind) -> &'static str {
    match kind {
        Kind::Input => "pixels",
        Kind::Conv { .. } | Kind::Linear { .. } => "cudnn",
        Kind::BatchNorm { .. } => "scale_shift",
        Kind::GroupNorm { .. } => "group_norm",
        Kind::MaxPool { .. } => "max_pool",
        Kind::AvgPool { .. } => "average_pool",
        Kind::ZeroPad { .. } => "zero_pad",
        Kind::GlobalAvgPool => "global_average_pool",
        Kind::ChannelConv { .. } => "channel_conv",
        Kind::Excite { .. } => "excite",
        Kind::Highway => "highway",
    }
}

/// Stored values of one image's map.
fn values_of(graph: &Graph, value: Value) -> usize {
    let shape = graph.shape(value);
    padded(shape.channels) * shape.height * shape.width
}

/// Slots by liveness: each step's output takes the tightest slot that nothing
/// live holds and that is large enough, else the largest, made larger.
fn lay_out(graph: &Graph, steps: &[Step]) -> (Vec<usize>, Vec<usize>) {
    let mut last_read = vec![0; graph.nodes.len()];
    for (at, step) in steps.iter().enumerate() {
        last_read[step.output] = at;
        step.inputs.iter().for_each(|&v| last_read[v] = at);
    }
    let mut slots = vec![usize::MAX; graph.nodes.len()];
    let mut sizes: Vec<usize> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let size = values_of(graph, step.output);
        let best = (0..free.len()).min_by_key(|&i| match sizes[free[i]] {
            have if have >= size => (0, have),
            have => (1, usize::MAX - have),
        });
        let slot = match best {
            Some(i) => free.swap_remove(i),
            None => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[slot] = sizes[slot].max(size);
        slots[step.output] = slot;
        let mut ended: Vec<usize> = step
            .inputs
            .iter()
            .filter(|&&v| last_read[v] == at)
            .map(|&v| slots[v])
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
    fn no_step_writes_over_what_is_still_read() {
        for row in family::FAMILY {
            let graph = build(row, row.input, row.classes);
            let network = Network::new(&graph, &Recipe::imagenet(), Number::F16).unwrap();
            // which value each slot holds while the steps run
            let mut holds = std::collections::HashMap::new();
            for step in &network.steps {
                for &v in &step.inputs {
                    assert_eq!(holds[&network.slot(v)], v, "{}: {step:?}", row.name);
                    assert_ne!(network.slot(v), network.slot(step.output));
                }
                holds.insert(network.slot(step.output), step.output);
            }
        }
    }
}
