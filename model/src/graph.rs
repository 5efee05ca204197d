//! What a network computes: a flat list of the field's elementary operations,
//! each reading earlier values. The reference runs it as it stands; the plan
//! fuses it. Flat, so a thousand layers need no recursion.

/// Index of a value: node `i` makes value `i`.
pub type Value = usize;

/// Epsilon of batch and group norm in every framework that the weights come
/// from.
pub const NORM_EPSILON: f64 = 1e-5;

/// Channels, height and width of one image's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// C
    pub channels: usize,
    /// H
    pub height: usize,
    /// W
    pub width: usize,
}

impl Shape {
    /// C * H * W
    #[must_use]
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// A square convolution, without what follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv {
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Channels are split into this many independent groups.
    pub groups: usize,
    /// Whether the checkpoint holds a bias for it.
    pub bias: bool,
    /// Epsilon of weight standardisation (Qiao et al. 2019), where used.
    pub standardised: Option<f32>,
}

/// What max pooling sees outside the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Nothing: only values of the map compete.
    Nothing,
    /// Zeros, as `BiT`'s stem has them.
    Zeros,
}

/// One elementary operation. Named ones own parameters `NODE.weight`, ...
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The normalised image.
    Input,
    /// Convolution; parameters `weight` `[Cout, Cin / groups, K, K]` and maybe `bias` `[Cout]`.
    Conv(Conv),
    /// Batch norm in inference; `weight`, `bias`, `running_mean`, `running_var` `[C]`.
    BatchNorm,
    /// Group norm; `weight`, `bias` `[C]`.
    GroupNorm {
        /// Number of groups.
        groups: usize,
    },
    /// max(x, 0)
    Relu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// Maximum over a window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step between outputs.
        stride: usize,
        /// Rows and columns outside the map on each side.
        padding: usize,
        /// What is out there.
        outside: Outside,
    },
    /// Mean over a window of side and step `size`; a window that sticks out
    /// at the far edge averages what it has (ceil mode, padding not counted).
    AvgPool {
        /// Side of the window.
        size: usize,
    },
    /// Option A of He et al. 2015: every `stride`-th pixel, zeros as new
    /// channels, half of them before and half after.
    ZeroPad {
        /// Step between pixels.
        stride: usize,
        /// Output channels.
        channels: usize,
    },
    /// Mean over the whole map: `[C, H, W]` -> `[C, 1, 1]`.
    GlobalAvgPool,
    /// A convolution along the channels of a `[C, 1, 1]` vector (ECA, Wang et
    /// al. 2020); `weight` `[1, 1, K]`.
    ChannelConv {
        /// Odd length of the kernel.
        kernel: usize,
    },
    /// a + b
    Add,
    /// Map a scaled by vector b, channel by channel.
    Scale,
    /// h t + x (1 - t), inputs h, t, x (highway, Srivastava et al. 2015).
    Highway,
    /// The classifier: `weight` `[classes, C]`, `bias` `[classes]`.
    Linear,
}

/// An operation with what it reads and the shape of what it makes.
#[derive(Clone, Debug)]
pub struct Node {
    /// Prefix of its parameters in torchvision's naming; empty without any.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Values it reads, all earlier.
    pub inputs: Vec<Value>,
    /// What it makes, for one image.
    pub shape: Shape,
}

/// A whole network for one input size.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Operations in an order in which they can run; the last makes the logits.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// A graph that only has its input.
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

    /// The logits' value.
    #[must_use]
    pub fn output(&self) -> Value {
        self.nodes.len() - 1
    }

    /// The embedding's value, `[C, 1, 1]`: what the classifier reads. `None` for
    /// a graph that does not end in one.
    #[must_use]
    pub fn embedding(&self) -> Option<Value> {
        let last = self.nodes.last()?;
        (last.op == Op::Linear).then(|| last.inputs[0])
    }

    /// The value of the last feature map, `[C, H, W]`: what the global pooling
    /// before the classifier reads. `None` for a graph without one.
    #[must_use]
    pub fn feature_map(&self) -> Option<Value> {
        let mut value = self.embedding()?;
        while self.nodes[value].op != Op::GlobalAvgPool {
            value = *self.nodes[value].inputs.first()?;
        }
        Some(self.nodes[value].inputs[0])
    }

    /// Appends an operation. `channels` is its output's; for most operations
    /// that of their first input.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[Value],
        channels: usize,
    ) -> Value {
        let from = self.shape(inputs[0]);
        let side = |from: usize| match op {
            Op::Conv(Conv {
                kernel,
                stride,
                padding,
                ..
            })
            | Op::MaxPool {
                kernel,
                stride,
                padding,
                ..
            } => (from + 2 * padding - kernel) / stride + 1,
            Op::AvgPool { size } => from.div_ceil(size),
            Op::ZeroPad { stride, .. } => from.div_ceil(stride),
            Op::GlobalAvgPool | Op::Linear => 1,
            _ => from,
        };
        let shape = Shape {
            channels,
            height: side(from.height),
            width: side(from.width),
        };
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            shape,
        });
        self.output()
    }

    /// For each value the last node that reads it (itself when none does).
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

    /// For each value the nodes that read it.
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

    /// Every parameter's name and shape, in the order of the nodes.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        self.nodes
            .iter()
            .flat_map(|node| self.parameters_of(node))
            .collect()
    }

    /// The parameters of one node.
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

    /// Trained values: all parameters but the batch norms' statistics.
    #[must_use]
    pub fn trained_values(&self) -> u64 {
        self.parameters()
            .iter()
            .filter(|(name, _)| !name.contains(".running_"))
            .map(|(_, shape)| shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Multiply-adds of node `value` for one image (convolutions and the
    /// classifier; the rest is not counted, as the papers do not).
    #[must_use]
    pub fn multiply_adds_of(&self, value: Value) -> u64 {
        let node = &self.nodes[value];
        let Some(&input) = node.inputs.first() else {
            return 0;
        };
        let cin = self.shape(input).channels;
        let outputs = node.shape.channels * node.shape.height * node.shape.width;
        let each = match node.op {
            Op::Conv(Conv { kernel, groups, .. }) => kernel * kernel * cin / groups,
            Op::Linear => cin,
            _ => 0,
        };
        outputs as u64 * each as u64
    }

    /// Multiply-adds of one image's forward pass.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        (0..self.nodes.len())
            .map(|value| self.multiply_adds_of(value))
            .sum()
    }
}
