//! What each step of a plan computes, moves and holds: for `inspect` and the
//! benchmark's table.

use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Node, Op, Value};

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
    /// The slot of the arena that holds the output, where there is an arena.
    pub slot: Option<usize>,
    /// What runs it: `cpu`, one of cuDNN's engines or one of our kernels.
    pub runs_as: String,
}

impl Cost {
    /// The cost of `step`; `words` gives a value's size.
    pub(crate) fn of(
        graph: &Graph,
        step: &Step,
        words: impl Fn(Value) -> usize,
        weight_bytes: usize,
        slot: Option<usize>,
    ) -> Self {
        let shape = graph.shape(step.output);
        let values = step.inputs.iter().chain([&step.output]);
        let words: usize = values.map(|&value| words(value)).sum();
        Self {
            name: name(graph, &step.kind),
            output: [shape.channels, shape.height, shape.width],
            multiply_adds: match step.kind {
                Kind::Conv { node, .. } | Kind::Linear { node } => graph.multiply_adds_of(node),
                _ => 0,
            },
            moved_bytes: 4 * words,
            weight_bytes,
            slot,
            runs_as: "cpu".into(),
        }
    }
}

/// The layer's name with what is fused into it.
pub(crate) fn name(graph: &Graph, kind: &Kind) -> String {
    let (residual, relu) = match *kind {
        Kind::Conv { residual, relu, .. } => (residual, relu),
        Kind::BatchNorm { relu, .. } | Kind::GroupNorm { relu, .. } => (false, relu),
        Kind::Excite { relu } => (true, relu),
        _ => (false, false),
    };
    let or = |shown: bool, text: &'static str| if shown { text } else { "" };
    let layer = layer(graph, kind);
    format!("{layer}{}{}", or(residual, " +"), or(relu, " relu"))
}

/// The layer's name, or what a step without parameters does.
pub(crate) fn layer<'a>(graph: &'a Graph, kind: &Kind) -> &'a str {
    match *kind {
        Kind::Conv { node, .. }
        | Kind::BatchNorm { node, .. }
        | Kind::GroupNorm { node, .. }
        | Kind::ChannelConv { node, .. }
        | Kind::Linear { node } => &graph.nodes[node].name,
        Kind::Input => "input",
        Kind::MaxPool { .. } => "max-pool",
        Kind::AvgPool { .. } => "average-pool",
        Kind::ZeroPad { .. } => "zero-pad",
        Kind::GlobalAvgPool => "global average",
        Kind::Excite { .. } => "excite",
        Kind::Highway => "highway gate",
    }
}

/// The node's name, or what an operation without parameters does.
pub(crate) fn node_name(node: &Node) -> String {
    let operation = match node.op {
        Op::Input => "input",
        Op::Relu => "relu",
        Op::Sigmoid => "sigmoid",
        Op::MaxPool { .. } => "max-pool",
        Op::AvgPool { .. } => "average-pool",
        Op::ZeroPad { .. } => "zero-pad",
        Op::GlobalAvgPool => "global average",
        Op::Add => "add",
        Op::Scale => "scale",
        Op::Highway => "highway gate",
        Op::Conv(_)
        | Op::BatchNorm
        | Op::GroupNorm { .. }
        | Op::ChannelConv { .. }
        | Op::Linear => {
            return node.name.clone();
        }
    };
    operation.to_owned()
}
