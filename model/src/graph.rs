//! The graph of a network: a flat list of elementary operations in execution
//! order. The candle backend runs the graph node by node. The fused backends
//! first join its nodes into steps (`fuse.rs`).

/// Index of a tensor of the graph: value `i` is the output of node `i`.
pub type Value = usize;

/// Epsilon of batch norm and group norm in every framework whose checkpoints are
/// supported.
pub const NORM_EPSILON: f64 = 1e-5;

/// The shape of a value for one image: `[C, H, W]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of channels, C.
    pub channels: usize,
    /// Height in pixels, H.
    pub height: usize,
    /// Width in pixels, W.
    pub width: usize,
}

impl Shape {
    /// Number of elements, C * H * W.
    #[must_use]
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// A 2D convolution with a square kernel. Norm, residual and activation are
/// separate nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv {
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Stride, in pixels.
    pub stride: usize,
    /// Zero padding on each side, in pixels.
    pub padding: usize,
    /// Number of groups of channels.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Epsilon of weight standardisation (Qiao et al. 2019); `None` if the
    /// weights are not standardised.
    pub standardised: Option<f32>,
}

/// How max pooling treats the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The padding is ignored, as in PyTorch.
    Nothing,
    /// The padding counts as zeros, as in the stem of `BiT`.
    Zeros,
}

/// Whether the last windows of a pool may extend past the right and bottom edge
/// of the (padded) feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// They do not: pixels that fill no window are left out.
    Inside,
    /// They do, where pixels are left (`ceil_mode=True` in PyTorch).
    Partial,
}

impl Last {
    /// Number of windows of `size` pixels at every `stride`-th of `side` pixels.
    fn windows(self, side: usize, size: usize, stride: usize) -> usize {
        let rest = side.saturating_sub(size);
        match self {
            Self::Inside => rest / stride + 1,
            Self::Partial => rest.div_ceil(stride) + 1,
        }
    }
}

/// An elementary operation. The parameters of node `NAME` are called
/// `NAME.weight`, `NAME.bias`, ...
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The network's input: the normalised image.
    Input,
    /// Convolution; parameters `weight` `[Cout, Cin / groups, K, K]` and, if
    /// [`Conv::bias`] is set, `bias` `[Cout]`.
    Conv(Conv),
    /// Batch norm in inference mode; parameters `weight`, `bias`, `running_mean`
    /// and `running_var`, `[C]` each.
    BatchNorm,
    /// Group norm; parameters `weight` and `bias`, `[C]` each.
    GroupNorm {
        /// Number of groups.
        groups: usize,
    },
    /// max(x, 0)
    Relu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// Maximum over a square window.
    MaxPool {
        /// Height and width of the window.
        kernel: usize,
        /// Stride, in pixels.
        stride: usize,
        /// Padding on each side, in pixels.
        padding: usize,
        /// How the padding is treated.
        outside: Outside,
        /// Whether the last windows extend past the right and bottom edge.
        last: Last,
    },
    /// Mean over square windows that do not overlap. If a window extends past
    /// the right or bottom edge, only its pixels inside the feature map are
    /// averaged (`count_include_pad=False` in PyTorch).
    AvgPool {
        /// Height and width of the window, and the stride.
        size: usize,
        /// Whether the last windows extend past the right and bottom edge.
        last: Last,
    },
    /// A 3x3 binomial filter with stride 2, whose padding reflects the feature map
    /// (Zhang 2019).
    BlurPool,
    /// The shortcut of option A (He et al. 2015): takes every `stride`-th pixel
    /// and adds channels of zeros, half of them before the input's channels and
    /// half after.
    ZeroPad {
        /// Stride, in pixels.
        stride: usize,
        /// Number of output channels.
        channels: usize,
    },
    /// Mean over the whole feature map: `[C, H, W]` -> `[C, 1, 1]`.
    GlobalAvgPool,
    /// A 1D convolution over the channels of a `[C, 1, 1]` vector (ECA, Wang et
    /// al. 2020); parameter `weight` `[1, 1, K]`.
    ChannelConv {
        /// Length of the kernel, an odd number.
        kernel: usize,
    },
    /// a + b, elementwise.
    Add,
    /// A feature map `[C, H, W]`, each channel multiplied by its element of a
    /// vector `[C, 1, 1]`.
    Scale,
    /// h * t + x * (1 - t), elementwise, with inputs h, t, x (highway networks,
    /// Srivastava et al. 2015).
    Highway,
    /// The classifier: a linear layer with parameters `weight` `[classes, C]`
    /// and `bias` `[classes]`.
    Linear,
}

/// An operation with its inputs and the shape of its output.
#[derive(Clone, Debug)]
pub struct Node {
    /// Prefix of its parameters' names, as in torchvision; empty if it has no
    /// parameters.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// The values that it reads, all from earlier nodes.
    pub inputs: Vec<Value>,
    /// The shape of its output for one image.
    pub shape: Shape,
}

/// A network for one input size.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Operations in execution order. The last one computes the logits.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// A graph with only the input, `[3, size, size]`.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let node = Node {
            name: String::new(),
            op: Op::Input,
            inputs: Vec::new(),
            shape: Shape {
                channels: 3,
                height: size,
                width: size,
            },
        };
        Self { nodes: vec![node] }
    }

    /// The shape of a value.
    #[must_use]
    pub fn shape(&self, value: Value) -> Shape {
        self.nodes[value].shape
    }

    /// The value of the logits.
    #[must_use]
    pub fn output(&self) -> Value {
        self.nodes.len() - 1
    }

    /// The value of the embedding, `[C, 1, 1]`: the input of the classifier.
    /// `None` if the graph does not end with a classifier.
    #[must_use]
    pub fn embedding(&self) -> Option<Value> {
        let last = self.nodes.last()?;
        (last.op == Op::Linear).then(|| last.inputs[0])
    }

    /// The value of the last feature map, `[C, H, W]`: the input of the global
    /// pooling before the classifier. `None` if the graph has no such pooling.
    #[must_use]
    pub fn feature_map(&self) -> Option<Value> {
        let mut value = self.embedding()?;
        while self.nodes[value].op != Op::GlobalAvgPool {
            value = *self.nodes[value].inputs.first()?;
        }
        Some(self.nodes[value].inputs[0])
    }

    /// Appends an operation and returns its output. `channels` is the number of
    /// its output channels.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[Value],
        channels: usize,
    ) -> Value {
        let input = self.shape(inputs[0]);
        let output_side = |side: usize| match op {
            Op::Conv(Conv {
                kernel,
                stride,
                padding,
                ..
            }) => Last::Inside.windows(side + 2 * padding, kernel, stride),
            Op::MaxPool {
                kernel,
                stride,
                padding,
                last,
                ..
            } => last.windows(side + 2 * padding, kernel, stride),
            Op::AvgPool { size, last } => last.windows(side, size, size),
            Op::BlurPool => side.div_ceil(2),
            Op::ZeroPad { stride, .. } => side.div_ceil(stride),
            Op::GlobalAvgPool | Op::Linear => 1,
            _ => side,
        };
        let shape = Shape {
            channels,
            height: output_side(input.height),
            width: output_side(input.width),
        };
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            shape,
        });
        self.output()
    }

    /// For each value, the last node that reads it; its own node if none does.
    #[must_use]
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last: Vec<usize> = (0..self.nodes.len()).collect();
        for (i, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                last[input] = i;
            }
        }
        last
    }

    /// For each value, the nodes that read it.
    #[must_use]
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                readers[input].push(i);
            }
        }
        readers
    }

    /// Name and shape of every parameter, in the order of the nodes.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        self.nodes
            .iter()
            .flat_map(|node| self.parameters_of(node))
            .collect()
    }

    /// Names and shapes of the parameters of one node.
    #[must_use]
    pub fn parameters_of(&self, node: &Node) -> Vec<(String, Vec<usize>)> {
        let cout = node.shape.channels;
        let cin = node.inputs.first().map_or(0, |&v| self.shape(v).channels);
        let named =
            |suffix: &str, shape: &[usize]| (format!("{}.{suffix}", node.name), shape.to_vec());
        let vectors = |suffixes: &[&str]| suffixes.iter().map(|s| named(s, &[cout])).collect();
        match node.op {
            Op::Conv(Conv {
                kernel,
                groups,
                bias,
                ..
            }) => {
                let mut all = vec![named("weight", &[cout, cin / groups, kernel, kernel])];
                all.extend(bias.then(|| named("bias", &[cout])));
                all
            }
            Op::BatchNorm => vectors(&["weight", "bias", "running_mean", "running_var"]),
            Op::GroupNorm { .. } => vectors(&["weight", "bias"]),
            Op::ChannelConv { kernel } => vec![named("weight", &[1, 1, kernel])],
            Op::Linear => vec![named("weight", &[cout, cin]), named("bias", &[cout])],
            _ => Vec::new(),
        }
    }

    /// Number of trained values: those of all parameters except the running
    /// statistics of the batch norms.
    #[must_use]
    pub fn trained_values(&self) -> u64 {
        self.parameters()
            .iter()
            .filter(|(name, _)| !name.contains(".running_"))
            .map(|(_, shape)| shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Multiply-adds of node `value` for one image. As in the papers, only
    /// convolutions and the classifier are counted.
    #[must_use]
    pub fn multiply_adds_of(&self, value: Value) -> u64 {
        let node = &self.nodes[value];
        let Some(&input) = node.inputs.first() else {
            return 0;
        };
        let cin = self.shape(input).channels;
        let outputs = node.shape.channels * node.shape.height * node.shape.width;
        let per_output = match node.op {
            Op::Conv(Conv { kernel, groups, .. }) => kernel * kernel * cin / groups,
            Op::Linear => cin,
            _ => 0,
        };
        outputs as u64 * per_output as u64
    }

    /// Multiply-adds of a forward pass of one image.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        (0..self.nodes.len())
            .map(|value| self.multiply_adds_of(value))
            .sum()
    }
}
