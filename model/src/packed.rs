//! The weights of the steps of a CPU plan: read from the checkpoint, folded and
//! packed for the kernels.

use weights::Checkpoint;

use crate::cpu::{
    Activation, Affine, ConvAffines, ConvSpec, ConvWeights, Element, PackedConv, SupportedIsa,
};
use crate::error::Result;
use crate::fold;
use crate::fuse::{Kind, Step};
use crate::graph::{Graph, Value};

/// A step's weights, packed for its kernel.
pub(crate) enum Packed {
    /// A step without weights.
    None,
    /// A convolution or the classifier.
    Conv(Box<PackedConv>),
    /// Scale and shift of a batch norm, weight and bias of a group norm: `[C]` each.
    Norm(Vec<f32>, Vec<f32>),
    /// The kernel, `[K]`.
    ChannelConv(Vec<f32>),
}

impl Packed {
    /// Reads and packs the weights of `step` for feature maps with elements of type
    /// `E`. `affine` returns the quantization parameters of a value.
    ///
    /// # Errors
    /// A parameter that is missing or has the wrong shape.
    pub(crate) fn new<E: Element>(
        graph: &Graph,
        step: &Step,
        checkpoint: &Checkpoint,
        isa: SupportedIsa,
        affine: impl Fn(Value) -> Affine,
    ) -> Result<Self> {
        let channels = |value: Value| graph.shape(value).channels;
        let packed = |spec: ConvSpec, folded: &fold::Folded, relu: bool| {
            let weights = ConvWeights {
                values: &folded.weight,
                bias: &folded.bias,
                steps: folded.steps.as_deref(),
            };
            let input = affine(step.inputs[0]);
            let affines = ConvAffines {
                input,
                residual: step
                    .inputs
                    .get(1)
                    .map_or(Affine::IDENTITY, |&value| affine(value)),
                output: affine(step.output),
            };
            Packed::Conv(Box::new(PackedConv::new::<E>(
                spec,
                weights,
                activation(relu),
                isa,
                affines,
            )))
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

    /// Size of the weights, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Packed::None => 0,
            Packed::Conv(conv) => conv.bytes(),
            Packed::Norm(scale, shift) => 4 * (scale.len() + shift.len()),
            Packed::ChannelConv(weight) => 4 * weight.len(),
        }
    }
}

/// The activation of a step with or without a ReLU.
pub(crate) fn activation(relu: bool) -> Activation {
    if relu {
        Activation::Relu
    } else {
        Activation::None
    }
}
