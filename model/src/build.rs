//! Builds the graph of a row of the architecture table: stem, stages of blocks,
//! classifier. Parameters have the names of torchvision's `resnet.py`.

use crate::family::{Architecture, Attention, Block, Merge, Norm, Order, Shortcut, Stem, StrideOn};
use crate::graph::{Conv, Graph, Op, Outside, Value};

const PLAIN_CONV: Conv = Conv {
    kernel: 1,
    stride: 1,
    padding: 0,
    groups: 1,
    bias: false,
    standardised: None,
};

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
    /// none. In networks with group norm, the weights are standardised.
    fn conv(&mut self, name: &str, x: Value, channels: usize, conv: Conv) -> Value {
        let standardised = (self.row.norm == Norm::Group).then_some(1e-8);
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

    fn stem(&mut self) -> Value {
        let row = self.row;
        let planes = row.stem_planes;
        let mut x = 0;
        match row.stem {
            Stem::Conv7 | Stem::Conv7ZeroPool => {
                x = self.conv(
                    "conv1",
                    x,
                    planes,
                    Conv {
                        kernel: 7,
                        stride: 2,
                        ..PLAIN_CONV
                    },
                );
            }
            Stem::Conv3 => {
                x = self.conv(
                    "conv1",
                    x,
                    planes,
                    Conv {
                        kernel: 3,
                        ..PLAIN_CONV
                    },
                )
            }
            Stem::Deep => {
                let conv3x3 = Conv {
                    kernel: 3,
                    ..PLAIN_CONV
                };
                x = self.conv(
                    "conv1.0",
                    x,
                    planes / 2,
                    Conv {
                        stride: 2,
                        ..conv3x3
                    },
                );
                x = self.norm_relu("conv1.1", x);
                x = self.conv("conv1.3", x, planes / 2, conv3x3);
                x = self.norm_relu("conv1.4", x);
                x = self.conv("conv1.6", x, planes, conv3x3);
            }
        }
        if row.order == Order::Post {
            x = self.norm_relu("bn1", x);
        }
        let outside = match row.stem {
            Stem::Conv3 => return x,
            Stem::Conv7ZeroPool => Outside::Zeros,
            Stem::Conv7 | Stem::Deep => Outside::Nothing,
        };
        self.same(
            "",
            Op::MaxPool {
                kernel: 3,
                stride: 2,
                padding: 1,
                outside,
            },
            x,
        )
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
                    kernel: 3,
                    stride,
                    bias: true,
                    ..PLAIN_CONV
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
        let conv3x3 = Conv {
            kernel: 3,
            ..PLAIN_CONV
        };
        let convs: &[(usize, Conv)] = match row.block {
            Block::Basic => &[(planes, Conv { stride, ..conv3x3 }), (planes, conv3x3)],
            Block::Bottleneck => &[
                (
                    width,
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
                        ..conv3x3
                    },
                ),
                (planes * row.block.expansion(), PLAIN_CONV),
            ],
        };
        let mut y = x;
        for (i, &(channels, conv)) in convs.iter().enumerate() {
            let last = i + 1 == convs.len();
            y = self.conv(&format!("{prefix}.conv{}", i + 1), y, channels, conv);
            y = match row.order {
                Order::Post if last => self.norm(&format!("{prefix}.bn{}", i + 1), y),
                Order::Post => self.norm_relu(&format!("{prefix}.bn{}", i + 1), y),
                Order::Pre if last => y,
                Order::Pre => self.norm_relu(&format!("{prefix}.bn{}", i + 2), y),
            };
        }
        y
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
                    stride,
                    ..PLAIN_CONV
                },
            ),
            Shortcut::Projection | Shortcut::Projection2x2 => (
                activated,
                Conv {
                    stride,
                    ..PLAIN_CONV
                },
            ),
            Shortcut::AvgPoolProjection if stride == 2 => (
                self.same("", Op::AvgPool { size: 2 }, activated),
                PLAIN_CONV,
            ),
            Shortcut::AvgPoolProjection => (activated, PLAIN_CONV),
        };
        let y = self.conv(&format!("{prefix}.downsample.0"), from, channels, conv);
        match row.order {
            Order::Post => self.norm(&format!("{prefix}.downsample.1"), y),
            Order::Pre => y,
        }
    }

    fn attention(&mut self, prefix: &str, y: Value) -> Value {
        let channels = self.channels(y);
        if self.row.attention == Attention::None {
            return y;
        }
        let squeezed = self.same("", Op::GlobalAvgPool, y);
        let excitation = match self.row.attention {
            Attention::SqueezeExcite => {
                let conv1x1 = Conv {
                    bias: true,
                    ..PLAIN_CONV
                };
                let reduced = squeezed_channels(channels);
                let z = self.conv(&format!("{prefix}.se.fc1"), squeezed, reduced, conv1x1);
                let z = self.same("", Op::Relu, z);
                self.conv(&format!("{prefix}.se.fc2"), z, channels, conv1x1)
            }
            _ => {
                let kernel = channel_kernel(channels);
                self.same(
                    &format!("{prefix}.se.conv"),
                    Op::ChannelConv { kernel },
                    squeezed,
                )
            }
        };
        let gate = self.same("", Op::Sigmoid, excitation);
        self.graph.push("", Op::Scale, &[y, gate], channels)
    }
}

/// Channels between the two layers of squeeze-and-excitation: `channels` / 16,
/// rounded to the nearest multiple of 8, at least 8. The next larger multiple is
/// used if rounding would remove more than 10 % (timm's `make_divisible`).
fn squeezed_channels(channels: usize) -> usize {
    let exact = channels as f64 / 16.0;
    let nearest = ((exact + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * exact {
        nearest + 8
    } else {
        nearest
    }
}

/// Kernel size of ECA: (log2 C + 1) / 2, rounded down and then up to an odd
/// number, at least 3 (Wang et al. 2020).
fn channel_kernel(channels: usize) -> usize {
    let size = (((channels as f64).log2() + 1.0) / 2.0) as usize;
    (size | 1).max(3)
}
