//! What each step of a plan computes, moves and holds: for `inspect` and the
//! benchmark's table.

use crate::cpu::Map;
use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Value};

/// One step's cost for one image, its weights apart.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The layer's name with what is fused into it.
    pub name: String,
    /// Channels, height, width.
    pub output: [usize; 3],
    /// Multiply-adds.
    pub multiply_adds: u64,
    /// Bytes read and written in maps.
    pub moved_bytes: usize,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// The arena's slot that holds the output.
    pub slot: usize,
    /// What runs it: `cpu`, `cudnn` or the name of one of our kernels.
    pub runs_as: &'static str,
}

impl Cost {
    /// The cost of `step`; `map` gives a value's map.
    pub(crate) fn of(
        graph: &Graph,
        step: &Step,
        map: impl Fn(Value) -> Option<Map>,
        weight_bytes: usize,
        slot: usize,
    ) -> Self {
        let shape = graph.shape(step.output);
        let values = step.inputs.iter().chain([&step.output]);
        let floats: usize = values.filter_map(|&v| map(v)).map(|map| map.len()).sum();
        Self {
            name: name(graph, &step.kind),
            output: [shape.channels, shape.height, shape.width],
            multiply_adds: match step.kind {
                Kind::Conv { node, .. } | Kind::Linear { node } => graph.multiply_adds_of(node),
                _ => 0,
            },
            moved_bytes: 4 * floats,
            weight_bytes,
            slot,
            runs_as: "cpu",
        }
    }
}

/// The layer's name with what is fused into it.
pub(crate) fn name(graph: &Graph, kind: &Kind) -> String {
    let named = |node: usize| graph.nodes[node].name.as_str();
    let or = |shown: bool, text: &'static str| if shown { text } else { "" };
    match *kind {
        Kind::Input => "input".into(),
        Kind::Conv {
            node,
            residual,
            relu,
            ..
        } => {
            format!("{}{}{}", named(node), or(residual, " +"), or(relu, " relu"))
        }
        Kind::BatchNorm { node, relu } | Kind::GroupNorm { node, relu, .. } => {
            format!("{}{}", named(node), or(relu, " relu"))
        }
        Kind::ChannelConv { node, .. } | Kind::Linear { node } => named(node).into(),
        Kind::MaxPool { .. } => "max-pool".into(),
        Kind::AvgPool { .. } => "average-pool".into(),
        Kind::ZeroPad { .. } => "zero-pad".into(),
        Kind::GlobalAvgPool => "global average".into(),
        Kind::Excite { relu } => format!("excite +{}", or(relu, " relu")),
        Kind::Highway => "highway gate".into(),
    }
}
