//! A row of the table becomes a graph: stem, stages of blocks, head. The
//! words and the parameter names are torchvision's `resnet.py`.

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

/// The graph of `row` for square inputs of side `size` and `classes` outputs.
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

    /// An operation that keeps the number of channels.
    fn same(&mut self, name: &str, op: Op, x: Value) -> Value {
        let channels = self.channels(x);
        self.graph.push(name, op, &[x], channels)
    }

    /// A bare convolution with "same" padding for odd kernels, none for even.
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
                let three = Conv {
                    kernel: 3,
                    ..PLAIN_CONV
                };
                x = self.conv("conv1.0", x, planes / 2, Conv { stride: 2, ..three });
                x = self.norm_relu("conv1.1", x);
                x = self.conv("conv1.3", x, planes / 2, three);
                x = self.norm_relu("conv1.4", x);
                x = self.conv("conv1.6", x, planes, three);
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

    /// Block `block` of stage `stage` on `x`.
    fn block(&mut self, x: Value, stage: usize, block: usize) -> Value {
        let row = self.row;
        let at = format!("layer{}.{block}", stage + 1);
        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
        let channels = row.planes[stage] * row.block.expansion();
        // pre-activation: the projection reads the activated input, the identity does not
        let activated = match row.order {
            Order::Post => x,
            Order::Pre => self.norm_relu(&format!("{at}.bn1"), x),
        };
        let shortcut =
            (row.merge != Merge::Plain).then(|| self.shortcut(&at, x, activated, channels, stride));
        let y = self.residual(&at, activated, row.planes[stage], stride);
        let y = self.attention(&at, y);
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
                let gate = self.conv(&format!("{at}.gate"), x, channels, gate);
                let gate = self.same("", Op::Sigmoid, gate);
                self.graph
                    .push("", Op::Highway, &[y, gate, shortcut], channels)
            }
            _ => self.same("", Op::Relu, y),
        }
    }

    /// The block's convolutions with the norms between them.
    fn residual(&mut self, at: &str, x: Value, planes: usize, stride: usize) -> Value {
        let row = self.row;
        let width = planes * row.widening;
        let (first, second) = match row.stride_on {
            StrideOn::Conv1 => (stride, 1),
            StrideOn::Conv2 => (1, stride),
        };
        let three = Conv {
            kernel: 3,
            ..PLAIN_CONV
        };
        let convs: &[(usize, Conv)] = match row.block {
            Block::Basic => &[(planes, Conv { stride, ..three }), (planes, three)],
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
                        ..three
                    },
                ),
                (planes * row.block.expansion(), PLAIN_CONV),
            ],
        };
        let mut y = x;
        for (i, &(channels, conv)) in convs.iter().enumerate() {
            let last = i + 1 == convs.len();
            y = self.conv(&format!("{at}.conv{}", i + 1), y, channels, conv);
            y = match row.order {
                Order::Post if last => self.norm(&format!("{at}.bn{}", i + 1), y),
                Order::Post => self.norm_relu(&format!("{at}.bn{}", i + 1), y),
                Order::Pre if last => y,
                Order::Pre => self.norm_relu(&format!("{at}.bn{}", i + 2), y),
            };
        }
        y
    }

    fn shortcut(
        &mut self,
        at: &str,
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
        let y = self.conv(&format!("{at}.downsample.0"), from, channels, conv);
        match row.order {
            Order::Post => self.norm(&format!("{at}.downsample.1"), y),
            Order::Pre => y,
        }
    }

    fn attention(&mut self, at: &str, y: Value) -> Value {
        let channels = self.channels(y);
        if self.row.attention == Attention::None {
            return y;
        }
        let squeezed = self.same("", Op::GlobalAvgPool, y);
        let excitation = match self.row.attention {
            Attention::SqueezeExcite => {
                let one = Conv {
                    bias: true,
                    ..PLAIN_CONV
                };
                let reduced = squeezed_channels(channels);
                let z = self.conv(&format!("{at}.se.fc1"), squeezed, reduced, one);
                let z = self.same("", Op::Relu, z);
                self.conv(&format!("{at}.se.fc2"), z, channels, one)
            }
            _ => {
                let kernel = channel_kernel(channels);
                self.same(
                    &format!("{at}.se.conv"),
                    Op::ChannelConv { kernel },
                    squeezed,
                )
            }
        };
        let gate = self.same("", Op::Sigmoid, excitation);
        self.graph.push("", Op::Scale, &[y, gate], channels)
    }
}

/// A sixteenth of the channels, to the nearest multiple of 8 that is not more
/// than a tenth below, at least 8 (timm's `make_divisible`).
fn squeezed_channels(channels: usize) -> usize {
    let exact = channels as f64 / 16.0;
    let near = ((exact + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * exact {
        near + 8
    } else {
        near
    }
}

/// ECA's kernel: the odd number next to (log2 C + 1) / 2, at least 3.
fn channel_kernel(channels: usize) -> usize {
    let t = (((channels as f64).log2() + 1.0) / 2.0) as usize;
    (t | 1).max(3)
}
