//! A step's weights, read, folded and packed for its kernel.

use weights::Checkpoint;

use crate::cpu::{Activation, Affine, ConvSpec, Element, Level, Meanings, PackedConv};
use crate::error::Result;
use crate::fold;
use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Value};

/// A step's weights, packed for its kernel.
pub(crate) enum Packed {
    None,
    Conv(PackedConv),
    /// scale and shift, `[C]` each
    Norm(Vec<f32>, Vec<f32>),
    ChannelConv(Vec<f32>),
}

impl Packed {
    /// The weights of `step` for maps of `E`; `affine` says what the bytes of
    /// a quantised value mean.
    pub(crate) fn new<E: Element>(
        graph: &Graph,
        step: &Step,
        checkpoint: &Checkpoint,
        level: Level,
        affine: impl Fn(Value) -> Affine,
    ) -> Result<Self> {
        let channels = |value: Value| graph.shape(value).channels;
        let packed = |spec: ConvSpec, folded: &fold::Folded, relu: bool| {
            let weights = (&folded.weight[..], &folded.bias[..]);
            let input = affine(step.inputs[0]);
            let meanings = Meanings {
                input,
                residual: step
                    .inputs
                    .get(1)
                    .map_or(Affine::IDENTITY, |&value| affine(value)),
                output: affine(step.output),
            };
            Packed::Conv(PackedConv::new::<E>(
                spec,
                weights,
                activation(relu),
                level,
                meanings,
            ))
        };
        Ok(match step.kind {
            Kind::Conv {
                conv,
                node,
                norm,
                relu,
                ..
            } => {
                let spec = ConvSpec {
                    cin: channels(step.inputs[0]),
                    cout: channels(step.output),
                    kernel: (conv.kernel, conv.kernel),
                    stride: conv.stride,
                    padding: conv.padding,
                    groups: conv.groups,
                };
                packed(
                    spec,
                    &fold::conv(graph, node, conv, norm, checkpoint)?,
                    relu,
                )
            }
            Kind::Linear { node } => {
                let spec = ConvSpec::linear(channels(step.inputs[0]), channels(step.output));
                packed(spec, &fold::linear(graph, node, checkpoint)?, false)
            }
            Kind::BatchNorm { node, .. } => {
                let fold::ScaleShift { scale, shift } = fold::batch_norm(graph, node, checkpoint)?;
                Packed::Norm(scale, shift)
            }
            Kind::GroupNorm { node, .. } => {
                let mut p = fold::parameters(graph, node, checkpoint)?.into_iter();
                Packed::Norm(p.next().unwrap_or_default(), p.next().unwrap_or_default())
            }
            Kind::ChannelConv { node, .. } => Packed::ChannelConv(
                fold::parameters(graph, node, checkpoint)?
                    .pop()
                    .unwrap_or_default(),
            ),
            _ => Packed::None,
        })
    }

    /// Memory of the weights.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Packed::None => 0,
            Packed::Conv(conv) => conv.bytes(),
            Packed::Norm(scale, shift) => 4 * (scale.len() + shift.len()),
            Packed::ChannelConv(weight) => 4 * weight.len(),
        }
    }
}

/// The activation of a step.
pub(crate) fn activation(relu: bool) -> Activation {
    if relu {
        Activation::Relu
    } else {
        Activation::None
    }
}
