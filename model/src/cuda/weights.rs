//! A network's weights on a card, folded and in the order that the kernels read
//! them; the lanes of the card share them.

use weights::Checkpoint;

use super::card::Card;
use super::fault::Fault;
use super::kernels::Affine;
use super::map::padded;
use super::memory::Buffer;
use super::network::Network;
use super::number::Number;
use crate::error::{Error, Result};
use crate::fold;
use crate::fuse::{Kind, Step};

/// The weights of one step.
pub(super) enum Packed {
    None,
    /// Kernels `[K, R, S, C / groups]` and `[K]` in the network's number type.
    Conv {
        weight: Buffer,
        bias: Buffer,
    },
    /// `[C]` each, in f32.
    Norm {
        scale: Buffer,
        shift: Buffer,
    },
    /// `[kernel]`, in f32.
    ChannelConv(Buffer),
}

/// The weights of every step.
pub(super) struct Weights(Vec<Packed>);

impl Weights {
    /// Reads, folds and uploads the weights, one step at a time.
    ///
    /// # Errors
    /// A parameter that is missing or wrong; a call that fails.
    pub(super) fn new(network: &Network, checkpoint: &Checkpoint, card: &Card) -> Result<Self> {
        let each = network.steps.iter();
        let packed = each
            .map(|step| pack(network, step, checkpoint, card))
            .collect::<Result<_>>()?;
        // other streams may read them from now on
        let done = card.stream().synchronize();
        done.map_err(|e| card.error(e.into()))?;
        Ok(Self(packed))
    }

    /// Bytes that the weights of `network` take, before any is read.
    pub(super) fn needed(network: &Network) -> usize {
        let each = network.steps.iter().map(|step| needed(network, step));
        each.sum()
    }

    /// The weights of step `index`.
    pub(super) fn of(&self, index: usize) -> &Packed {
        &self.0[index]
    }

    /// Memory of all weights.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Packed::bytes).sum()
    }
}

impl Packed {
    /// Memory of the step's weights.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Conv { weight, bias } => weight.bytes() + bias.bytes(),
            Self::Norm { scale, shift } => scale.bytes() + shift.bytes(),
            Self::ChannelConv(weight) => weight.bytes(),
        }
    }

    /// Weights and bias of a convolution, by their addresses.
    pub(super) fn conv(&self) -> Result<(u64, u64), Fault> {
        match self {
            Self::Conv { weight, bias } => Ok((weight.at(), bias.at())),
            _ => Err(other()),
        }
    }

    /// Scale and shift of a norm.
    pub(super) fn affine(&self) -> Result<Affine, Fault> {
        match self {
            Self::Norm { scale, shift } => Ok(Affine {
                scale: scale.at(),
                shift: shift.at(),
            }),
            _ => Err(other()),
        }
    }

    /// Taps of a convolution along the channels.
    pub(super) fn taps(&self) -> Result<u64, Fault> {
        match self {
            Self::ChannelConv(weight) => Ok(weight.at()),
            _ => Err(other()),
        }
    }
}

fn other() -> Fault {
    Fault::Internal("a step has other weights than it needs".into())
}

fn pack(network: &Network, step: &Step, checkpoint: &Checkpoint, card: &Card) -> Result<Packed> {
    let graph = &network.graph;
    let upload = |number: Number, values: &[f32]| {
        let buffer = Buffer::upload(&card.stream(), &number.encode(values));
        buffer.map_err(|fault| card.error(fault))
    };
    let convolution = |folded: &fold::Folded, shape: Kernels| -> Result<Packed> {
        Ok(Packed::Conv {
            weight: upload(network.number, &shape.pack(&folded.weight)?)?,
            bias: upload(network.number, &pad(&folded.bias))?,
        })
    };
    Ok(match step.kind {
        Kind::Conv {
            conv, node, norm, ..
        } => convolution(
            &fold::conv(graph, node, conv, norm, checkpoint)?,
            Kernels::of(network, step, (conv.kernel, conv.groups)),
        )?,
        Kind::Linear { node } => convolution(
            &fold::linear(graph, node, checkpoint)?,
            Kernels::of(network, step, (1, 1)),
        )?,
        Kind::BatchNorm { node, .. } => {
            let folded = fold::batch_norm(graph, node, checkpoint)?;
            Packed::Norm {
                scale: upload(Number::F32, &pad(&folded.scale))?,
                shift: upload(Number::F32, &pad(&folded.shift))?,
            }
        }
        Kind::GroupNorm { node, .. } => {
            let p = fold::parameters(graph, node, checkpoint)?;
            let [scale, shift] = &p[..] else {
                return Err(Error::Internal("a group norm has two parameters".into()));
            };
            Packed::Norm {
                scale: upload(Number::F32, &pad(scale))?,
                shift: upload(Number::F32, &pad(shift))?,
            }
        }
        Kind::ChannelConv { node, .. } => {
            let p = fold::parameters(graph, node, checkpoint)?;
            Packed::ChannelConv(upload(Number::F32, &p.concat())?)
        }
        _ => Packed::None,
    })
}

/// Bytes that `pack` makes of a step's weights.
fn needed(network: &Network, step: &Step) -> usize {
    let channels = padded(network.graph.shape(step.output).channels);
    let convolution = |sides| {
        let (outs, area, ins) = Kernels::of(network, step, sides).packed();
        (outs * area * ins + channels) * network.number.bytes()
    };
    match step.kind {
        Kind::Conv { conv, .. } => convolution((conv.kernel, conv.groups)),
        Kind::Linear { .. } => convolution((1, 1)),
        Kind::BatchNorm { .. } | Kind::GroupNorm { .. } => 2 * channels * Number::F32.bytes(),
        Kind::ChannelConv { kernel, .. } => kernel * Number::F32.bytes(),
        _ => 0,
    }
}

/// `[C]` with zeros for the padding channels.
fn pad(values: &[f32]) -> Vec<f32> {
    let mut all = values.to_vec();
    all.resize(padded(values.len()), 0.0);
    all
}

/// The shape of a convolution's weights.
#[derive(Clone, Copy)]
struct Kernels {
    cout: usize,
    cin: usize,
    side: usize,
    groups: usize,
}

impl Kernels {
    /// Those of a step, `side` wide and in so many groups.
    fn of(network: &Network, step: &Step, (side, groups): (usize, usize)) -> Self {
        let channels = |value| network.graph.shape(value).channels;
        Self {
            cout: channels(step.output),
            cin: channels(step.inputs[0]),
            side,
            groups,
        }
    }

    /// Kernels, values of a channel and channels, as they are packed.
    fn packed(self) -> (usize, usize, usize) {
        let inputs = self.cin / self.groups;
        let area = self.side * self.side;
        match self.groups {
            1 => (padded(self.cout), area, padded(inputs)),
            // padding would have to go between the groups
            _ => (self.cout, area, inputs),
        }
    }

    /// `[K, C / groups, R, S]` to `[K, R, S, C / groups]`, zeros for the
    /// padding channels of both ends.
    fn pack(self, weight: &[f32]) -> Result<Vec<f32>> {
        let inputs = self.cin / self.groups;
        let (outs, area, ins) = self.packed();
        let in_eights = self.cin.is_multiple_of(8) && self.cout.is_multiple_of(8);
        if self.groups > 1 && !in_eights {
            return Err(Error::Internal(format!(
                "{} groups of {} channels to {} do not fill eights",
                self.groups, self.cin, self.cout
            )));
        }
        let mut packed = vec![0.0; outs * area * ins];
        for (k, kernel) in weight.chunks_exact(inputs * area).enumerate() {
            for (c, plane) in kernel.chunks_exact(area).enumerate() {
                for (at, &value) in plane.iter().enumerate() {
                    packed[(k * area + at) * ins + c] = value;
                }
            }
        }
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_turned_and_padded() {
        let kernels = Kernels {
            cout: 2,
            cin: 3,
            side: 2,
            groups: 1,
        };
        let weight: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let packed = kernels.pack(&weight).unwrap();
        assert_eq!(packed.len(), 8 * 4 * 8);
        // kernel 1, row 1, column 0, channel 2
        assert_eq!(packed[(4 + 2) * 8 + 2], (12 + 2 * 4 + 2) as f32);
        assert_eq!(packed.iter().sum::<f32>(), weight.iter().sum::<f32>());
    }
}
