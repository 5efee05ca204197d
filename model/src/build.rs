//! Builds the graph of a row of the architecture table: stem, stages of blocks,
//! classifier. Parameters have the names of torchvision's `resnet.py`.

use crate::family::{
    AntiAliasing, Architecture, Attention, Block, Merge, Norm, Order, Shortcut, Squeeze, Stem,
    StemPool, StrideOn,
};
use crate::graph::{Conv, Graph, Last, Op, Outside, Value};

const PLAIN_CONV: Conv = Conv {
    kernel: 1,
    stride: 1,
    padding: 0,
    groups: 1,
    bias: false,
    standardised: None,
};
const CONV3: Conv = Conv {
    kernel: 3,
    ..PLAIN_CONV
};
/// Halves the size of a feature map of any size.
const HALVE: Op = Op::AvgPool {
    size: 2,
    last: Last::Partial,
};

/// The same convolution with stride 2.
const fn strided(conv: Conv) -> Conv {
    Conv { stride: 2, ..conv }
}

/// The graph of `row` for inputs `[3, size, size]` and `classes` classes.
#[must_use]
pub fn build(row: &Architecture, size: usize, classes: usize) -> Graph {
    let mut net = Builder {
        row,
        graph: Graph::new(size),
    };
    let mut x = net.stem();
    for stage in 0..row.layers.len() {
        for block in 0..row.layers[stage] {
            x = net.block(x, stage, block);
        }
    }
    if row.order == Order::Pre {
        x = net.norm_relu("bn", x);
    }
    let x = net.same("", Op::GlobalAvgPool, x);
    net.graph.push("fc", Op::Linear, &[x], classes);
    net.graph
}

struct Builder<'a> {
    row: &'a Architecture,
    graph: Graph,
}

impl Builder<'_> {
    fn channels(&self, x: Value) -> usize {
        self.graph.shape(x).channels
    }

    /// Appends an operation that keeps the number of channels.
    fn same(&mut self, name: &str, op: Op, x: Value) -> Value {
        let channels = self.channels(x);
        self.graph.push(name, op, &[x], channels)
    }

    /// Appends a convolution. Odd kernels have "same" padding, the 2x2 kernel has
    /// none.
    fn conv(&mut self, name: &str, x: Value, channels: usize, conv: Conv) -> Value {
        let standardised = self.row.standardised.then_some(1e-8);
        let padding = (conv.kernel - 1) / 2;
        self.graph.push(
            name,
            Op::Conv(Conv {
                padding,
                standardised,
                ..conv
            }),
            &[x],
            channels,
        )
    }

    fn norm(&mut self, name: &str, x: Value) -> Value {
        let op = match self.row.norm {
            Norm::Batch => Op::BatchNorm,
            Norm::Group => Op::GroupNorm { groups: 32 },
        };
        self.same(name, op, x)
    }

    fn norm_relu(&mut self, name: &str, x: Value) -> Value {
        let x = self.norm(name, x);
        self.same("", Op::Relu, x)
    }

    /// The layers before the first stage.
    fn stem(&mut self) -> Value {
        let mut x = 0;
        let convs = stem_convs(self.row);
        for (i, (names, channels, conv)) in convs.iter().enumerate() {
            x = self.conv(names.0, x, *channels, *conv);
            // the first norm of a pre-activation block follows the last one
            if i + 1 < convs.len() || self.row.order == Order::Post {
                x = self.norm_relu(names.1, x);
            }
        }
        self.stem_pool(x)
    }

    fn stem_pool(&mut self, x: Value) -> Value {
        let pool = |stride: usize, padding: usize, outside: Outside, last: Last| Op::MaxPool {
            kernel: 3,
            stride,
            padding,
            outside,
            last,
        };
        let (ignored, inside) = (Outside::Nothing, Last::Inside);
        match (self.row.stem_pool, self.row.anti_aliasing) {
            (StemPool::None, _) => x,
            (StemPool::Max, AntiAliasing::None) => self.same("", pool(2, 1, ignored, inside), x),
            (StemPool::Max, AntiAliasing::Average) => {
                let last = Last::Inside;
                self.same("", Op::AvgPool { size: 2, last }, x)
            }
            (StemPool::Max, AntiAliasing::Blur) => {
                let x = self.same("", pool(1, 1, ignored, inside), x);
                self.same("", Op::BlurPool, x)
            }
            (StemPool::MaxOverZeros, _) => self.same("", pool(2, 1, Outside::Zeros, inside), x),
            (StemPool::MaxUnpadded, _) => self.same("", pool(2, 0, ignored, Last::Partial), x),
            (StemPool::Conv, _) => {
                let x = self.conv("maxpool.0", x, self.channels(x), strided(CONV3));
                self.norm_relu("maxpool.1", x)
            }
        }
    }

    /// Appends block `block` of stage `stage` with input `x`.
    fn block(&mut self, x: Value, stage: usize, block: usize) -> Value {
        let row = self.row;
        let prefix = format!("layer{}.{block}", stage + 1);
        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
        let channels = row.planes[stage] * row.block.expansion();
        // with pre-activation, an identity shortcut reads `x`, other shortcuts `activated`
        let activated = match row.order {
            Order::Post => x,
            Order::Pre => self.norm_relu(&format!("{prefix}.bn1"), x),
        };
        let shortcut = (row.merge != Merge::Plain)
            .then(|| self.shortcut(&prefix, x, activated, channels, stride));
        let y = self.residual(&prefix, activated, row.planes[stage], stride);
        let y = self.attention(&prefix, y);
        match (row.merge, shortcut) {
            (Merge::Residual, Some(shortcut)) => {
                let sum = self.graph.push("", Op::Add, &[y, shortcut], channels);
                if row.order == Order::Pre {
                    sum
                } else {
                    self.same("", Op::Relu, sum)
                }
            }
            (Merge::Highway, Some(shortcut)) => {
                let y = self.same("", Op::Relu, y);
                let gate = Conv {
                    stride,
                    bias: true,
                    ..CONV3
                };
                let gate = self.conv(&format!("{prefix}.gate"), x, channels, gate);
                let gate = self.same("", Op::Sigmoid, gate);
                self.graph
                    .push("", Op::Highway, &[y, gate, shortcut], channels)
            }
            _ => self.same("", Op::Relu, y),
        }
    }

    /// Appends the residual function of a block: its convolutions and norms, with
    /// ReLUs between them.
    fn residual(&mut self, prefix: &str, x: Value, planes: usize, stride: usize) -> Value {
        let row = self.row;
        let width = planes * row.widening;
        let (first, second) = match row.stride_on {
            StrideOn::Conv1 => (stride, 1),
            StrideOn::Conv2 => (1, stride),
        };
        let convs: &[(usize, Conv)] = match row.block {
            Block::Basic => &[(planes, Conv { stride, ..CONV3 }), (planes, CONV3)],
            Block::Bottleneck => &[
                (
                    width / row.narrowing,
                    Conv {
                        stride: first,
                        ..PLAIN_CONV
                    },
                ),
                (
                    width,
                    Conv {
                        stride: second,
                        groups: row.groups,
                        ..CONV3
                    },
                ),
                (planes * row.block.expansion(), PLAIN_CONV),
            ],
        };
        let mut y = x;
        for (i, &(channels, conv)) in convs.iter().enumerate() {
            let last = i + 1 == convs.len();
            let pool = (conv.stride == 2).then(|| self.anti_aliasing()).flatten();
            let stride = if pool.is_some() { 1 } else { conv.stride };
            let conv = Conv { stride, ..conv };
            y = self.conv(&format!("{prefix}.conv{}", i + 1), y, channels, conv);
            y = match row.order {
                Order::Post if last => self.norm(&format!("{prefix}.bn{}", i + 1), y),
                Order::Post => self.norm_relu(&format!("{prefix}.bn{}", i + 1), y),
                Order::Pre if last => y,
                Order::Pre => self.norm_relu(&format!("{prefix}.bn{}", i + 2), y),
            };
            if let Some(pool) = pool {
                y = self.same("", pool, y);
            }
        }
        y
    }

    /// What halves the size of a feature map in place of the stride of the
    /// convolution before it.
    fn anti_aliasing(&self) -> Option<Op> {
        match self.row.anti_aliasing {
            AntiAliasing::None => None,
            AntiAliasing::Average => Some(HALVE),
            AntiAliasing::Blur => Some(Op::BlurPool),
        }
    }

    fn shortcut(
        &mut self,
        prefix: &str,
        x: Value,
        activated: Value,
        channels: usize,
        stride: usize,
    ) -> Value {
        let row = self.row;
        if stride == 1 && self.channels(x) == channels {
            return x;
        }
        let (from, conv) = match row.shortcut {
            Shortcut::ZeroPad => {
                return self.graph.push(
                    "",
                    Op::ZeroPad { stride, channels },
                    &[activated],
                    channels,
                );
            }
            Shortcut::Projection2x2 if stride == 2 => (
                activated,
                Conv {
                    kernel: 2,
                    ..strided(PLAIN_CONV)
                },
            ),
            Shortcut::Projection3x3 if stride == 2 => (activated, strided(CONV3)),
            Shortcut::Projection if stride == 2 => (activated, strided(PLAIN_CONV)),
            Shortcut::AvgPoolProjection if stride == 2 => {
                (self.same("", HALVE, activated), PLAIN_CONV)
            }
            _ => (activated, PLAIN_CONV),
        };
        let y = self.conv(&format!("{prefix}.downsample.0"), from, channels, conv);
        match row.order {
            Order::Post => self.norm(&format!("{prefix}.downsample.1"), y),
            Order::Pre => y,
        }
    }

    fn attention(&mut self, prefix: &str, y: Value) -> Value {
        match self.row.attention {
            Attention::None => y,
            Attention::SqueezeExcite(squeeze) => self.squeeze_excite(prefix, y, squeeze),
            Attention::EfficientChannel => {
                let squeezed = self.same("", Op::GlobalAvgPool, y);
                let kernel = channel_kernel(self.channels(y));
                let conv = Op::ChannelConv { kernel };
                let gate = self.same(&format!("{prefix}.se.conv"), conv, squeezed);
                self.gated(y, gate)
            }
        }
    }

    fn squeeze_excite(&mut self, prefix: &str, y: Value, squeeze: Squeeze) -> Value {
        let channels = self.channels(y);
        let conv1x1 = Conv {
            bias: true,
            ..PLAIN_CONV
        };
        let y = if squeeze.after_relu {
            self.same("", Op::Relu, y)
        } else {
            y
        };
        let squeezed = self.same("", Op::GlobalAvgPool, y);
        let reduced = squeezed_channels(channels, squeeze);
        let z = self.conv(&format!("{prefix}.se.fc1"), squeezed, reduced, conv1x1);
        let z = self.same("", Op::Relu, z);
        let gate = self.conv(&format!("{prefix}.se.fc2"), z, channels, conv1x1);
        self.gated(y, gate)
    }

    /// `y` times the sigmoid of `gate`.
    fn gated(&mut self, y: Value, gate: Value) -> Value {
        let gate = self.same("", Op::Sigmoid, gate);
        let channels = self.channels(y);
        self.graph.push("", Op::Scale, &[y, gate], channels)
    }
}

/// The convolutions of the stem: the names of each and of its norm, its output
/// channels, and its shape.
fn stem_convs(row: &Architecture) -> Vec<((&'static str, &'static str), usize, Conv)> {
    const TORCHVISION: (&str, &str) = ("conv1", "bn1");
    const TIMM: [(&str, &str); 3] = [
        ("conv1.0", "conv1.1"),
        ("conv1.3", "conv1.4"),
        ("conv1.6", "bn1"),
    ];
    const SENET: [(&str, &str); 3] = [
        ("layer0.conv1", "layer0.bn1"),
        ("layer0.conv2", "layer0.bn2"),
        ("layer0.conv3", "layer0.bn3"),
    ];
    let planes = row.stem_planes;
    let conv7 = Conv {
        kernel: 7,
        ..strided(PLAIN_CONV)
    };
    let deep = |[first, second, third]: [(&'static str, &'static str); 3], narrow: usize| {
        vec![
            (first, narrow, strided(CONV3)),
            (second, planes / 2, CONV3),
            (third, planes, CONV3),
        ]
    };
    match row.stem {
        Stem::Conv7 => vec![(TORCHVISION, planes, conv7)],
        Stem::Conv3 => vec![(TORCHVISION, planes, CONV3)],
        Stem::Senet7 => vec![(SENET[0], planes, conv7)],
        Stem::Deep => deep(TIMM, planes / 2),
        Stem::Tiered => deep(TIMM, planes / 8 * 3),
        Stem::SenetDeep => deep(SENET, planes / 2),
    }
}

/// Channels between the two layers of squeeze-and-excitation: rounded to the
/// nearest multiple, at least one multiple (timm's `make_divisible`).
fn squeezed_channels(channels: usize, squeeze: Squeeze) -> usize {
    let Squeeze {
        reduction,
        multiple,
        ..
    } = squeeze;
    let exact = channels / reduction;
    ((exact + multiple / 2) / multiple * multiple).max(multiple)
}

/// Kernel size of ECA: (log2 C + 1) / 2, rounded down and then up to an odd
/// number, at least 3 (Wang et al. 2020).
fn channel_kernel(channels: usize) -> usize {
    let size = (((channels as f64).log2() + 1.0) / 2.0) as usize;
    (size | 1).max(3)
}
