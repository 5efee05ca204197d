//! The cost of each step of a backend: multiply-adds, memory traffic and weights.
//! `resnet inspect` and `resnet bench` print it.

use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Node, Op, Value};

/// The cost of a step for one image.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The name of the layer and of the operations fused into it, for example
    /// `layer1.0.conv3 + relu`.
    pub name: String,
    /// Shape of the output: channels, height, width.
    pub output: [usize; 3],
    /// Multiply-adds.
    pub multiply_adds: u64,
    /// Bytes of feature maps that it reads and writes.
    pub moved_bytes: usize,
    /// Bytes of its packed weights, which a batch reads once.
    pub weight_bytes: usize,
    /// The arena slot of the output; `None` if the backend has no arena.
    pub slot: Option<usize>,
    /// What runs it: `cpu`, `candle`, a cuDNN engine or a CUDA kernel of this
    /// project.
    pub runs_as: String,
}

impl Cost {
    /// The cost of `step`. `words` returns the size of a value for one image, in
    /// words of 32 bits.
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

/// The name of the layer, with ` +` for a residual addition and ` relu` for a
/// ReLU.
pub(crate) fn name(graph: &Graph, kind: &Kind) -> String {
    let (residual, relu) = match *kind {
        Kind::Conv { residual, relu, .. } => (residual, relu),
        Kind::BatchNorm { relu, .. } => (false, relu),
        Kind::GroupNorm { residual, relu, .. } => (residual, relu),
        Kind::Excite { relu } => (true, relu),
        _ => (false, false),
    };
    let text_if = |shown: bool, text: &'static str| if shown { text } else { "" };
    let layer = layer(graph, kind);
    format!(
        "{layer}{}{}",
        text_if(residual, " +"),
        text_if(relu, " relu")
    )
}

/// The name of the layer; for a step without parameters, its operation.
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
        Kind::BlurPool => "blur-pool",
        Kind::ZeroPad { .. } => "zero-pad",
        Kind::GlobalAvgPool => "global average",
        Kind::Excite { .. } => "excite",
        Kind::Highway => "highway gate",
    }
}

/// The name of the node; for a node without parameters, its operation.
pub(crate) fn node_name(node: &Node) -> String {
    let operation = match node.op {
        Op::Input => "input",
        Op::Relu => "relu",
        Op::Sigmoid => "sigmoid",
        Op::MaxPool { .. } => "max-pool",
        Op::AvgPool { .. } => "average-pool",
        Op::BlurPool => "blur-pool",
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
