//! A network's weights in device memory: folded, padded and in the layout that
//! cuDNN and the kernels read. All lanes of a GPU share them.

use weights::Checkpoint;

use super::error::CudaError;
use super::gpu::Gpu;
use super::kernels::NormParameters;
use super::memory::DeviceBuffer;
use super::network::Network;
use super::tensor::padded;
use crate::class_map::ClassWeights;
use crate::dtype::Dtype;
use crate::error::{Error, NoClassMaps, Result, no_such_class};
use crate::fold;
use crate::fuse::{Kind, Step};

/// The packed weights of one step.
pub(super) enum StepWeights {
    None,
    /// Filters `[K, R, S, C / groups]` and bias `[K]` in the network's dtype.
    Conv {
        weight: DeviceBuffer,
        bias: DeviceBuffer,
    },
    /// `[C]` each, f32.
    Norm {
        scale: DeviceBuffer,
        shift: DeviceBuffer,
    },
    /// `[kernel]`, f32.
    ChannelConv(DeviceBuffer),
}

/// The weights of every step.
pub(super) struct Weights(Vec<StepWeights>);

impl Weights {
    /// Reads, folds and uploads the weights, one step at a time.
    ///
    /// # Errors
    /// A parameter is missing or has the wrong shape; a CUDA call fails.
    pub(super) fn new(network: &Network, checkpoint: &Checkpoint, gpu: &Gpu) -> Result<Self> {
        let each = network.steps.iter();
        let packed = each
            .map(|step| pack(network, step, checkpoint, gpu))
            .collect::<Result<_>>()?;
        // other streams read the weights after this
        let done = gpu.stream().synchronize();
        done.map_err(|e| gpu.error(e.into()))?;
        Ok(Self(packed))
    }

    /// Device memory that the weights of `network` need, in bytes.
    pub(super) fn needed(network: &Network) -> usize {
        let each = network.steps.iter().map(|step| needed(network, step));
        each.sum()
    }

    /// The weights of step `index`.
    pub(super) fn of(&self, index: usize) -> &StepWeights {
        &self.0[index]
    }

    /// The classifier's weights and bias of `class`, copied back from the device.
    ///
    /// # Errors
    /// The last step is not a linear layer, or has no such class; a CUDA call
    /// fails.
    pub(super) fn of_class(
        &self,
        network: &Network,
        class: usize,
        gpu: &Gpu,
    ) -> Result<ClassWeights> {
        let (Some(step), Some(StepWeights::Conv { weight, bias })) =
            (network.steps.last(), self.0.last())
        else {
            return Err(NoClassMaps::NoClassifier.into());
        };
        let Kind::Linear { .. } = step.kind else {
            return Err(NoClassMaps::NoClassifier.into());
        };
        if class >= network.classes() {
            return Err(no_such_class(class, network.classes()));
        }
        let shape = FilterShape::of(network, step, (1, 1));
        let values = |buffer: &DeviceBuffer, first: usize, count: usize| {
            let size = network.dtype.bytes();
            let range = first * size..(first + count) * size;
            let bytes = buffer.download(&gpu.stream(), range);
            let bytes = bytes.map_err(|error| gpu.error(error))?;
            Ok::<Vec<f32>, Error>(network.dtype.decode(&bytes).collect())
        };
        let (_, _, padded_inputs) = shape.packed();
        Ok(ClassWeights {
            weight: values(weight, class * padded_inputs, shape.cin)?,
            bias: values(bias, class, 1)?.into_iter().sum(),
        })
    }

    /// Device memory of all weights, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(StepWeights::bytes).sum()
    }
}

impl StepWeights {
    /// Device memory of the step's weights, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Conv { weight, bias } => weight.bytes() + bias.bytes(),
            Self::Norm { scale, shift } => scale.bytes() + shift.bytes(),
            Self::ChannelConv(weight) => weight.bytes(),
        }
    }

    /// Device addresses of a convolution's filters and bias.
    pub(super) fn conv(&self) -> Result<(u64, u64), CudaError> {
        match self {
            Self::Conv { weight, bias } => Ok((weight.address(), bias.address())),
            _ => Err(unexpected_weights()),
        }
    }

    /// Device addresses of a norm's scale and shift.
    pub(super) fn norm(&self) -> Result<NormParameters, CudaError> {
        match self {
            Self::Norm { scale, shift } => Ok(NormParameters {
                scale: scale.address(),
                shift: shift.address(),
            }),
            _ => Err(unexpected_weights()),
        }
    }

    /// Device address of the filter of a 1-D convolution over the channels.
    pub(super) fn channel_conv(&self) -> Result<u64, CudaError> {
        match self {
            Self::ChannelConv(weight) => Ok(weight.address()),
            _ => Err(unexpected_weights()),
        }
    }
}

fn unexpected_weights() -> CudaError {
    CudaError::Internal("the weights of a step do not match its kind".into())
}

fn pack(network: &Network, step: &Step, checkpoint: &Checkpoint, gpu: &Gpu) -> Result<StepWeights> {
    let graph = &network.graph;
    let upload = |dtype: Dtype, values: &[f32]| {
        let buffer = DeviceBuffer::upload(&gpu.stream(), &dtype.encode(values));
        buffer.map_err(|error| gpu.error(error))
    };
    let convolution = |folded: &fold::Folded, shape: FilterShape| -> Result<StepWeights> {
        Ok(StepWeights::Conv {
            weight: upload(network.dtype, &shape.pack(&folded.weight)?)?,
            bias: upload(network.dtype, &pad(&folded.bias))?,
        })
    };
    Ok(match step.kind {
        Kind::Conv {
            conv, node, norm, ..
        } => convolution(
            &fold::conv(graph, node, conv, norm, checkpoint)?,
            FilterShape::of(network, step, (conv.kernel, conv.groups)),
        )?,
        Kind::Linear { node } => convolution(
            &fold::linear(graph, node, checkpoint)?,
            FilterShape::of(network, step, (1, 1)),
        )?,
        Kind::BatchNorm { node, .. } => {
            let folded = fold::batch_norm(graph, node, checkpoint)?;
            StepWeights::Norm {
                scale: upload(Dtype::F32, &pad(&folded.scale))?,
                shift: upload(Dtype::F32, &pad(&folded.shift))?,
            }
        }
        Kind::GroupNorm { node, .. } => {
            let p = fold::parameters(graph, node, checkpoint)?;
            let [scale, shift] = &p[..] else {
                return Err(Error::Internal(
                    "a group norm does not have exactly two parameters".into(),
                ));
            };
            StepWeights::Norm {
                scale: upload(Dtype::F32, &pad(scale))?,
                shift: upload(Dtype::F32, &pad(shift))?,
            }
        }
        Kind::ChannelConv { node, .. } => {
            let p = fold::parameters(graph, node, checkpoint)?;
            StepWeights::ChannelConv(upload(Dtype::F32, &p.concat())?)
        }
        _ => StepWeights::None,
    })
}

/// Device memory that `pack` allocates for a step, in bytes.
fn needed(network: &Network, step: &Step) -> usize {
    let channels = padded(network.graph.shape(step.output).channels);
    let convolution = |side_and_groups| {
        let (outs, area, ins) = FilterShape::of(network, step, side_and_groups).packed();
        (outs * area * ins + channels) * network.dtype.bytes()
    };
    match step.kind {
        Kind::Conv { conv, .. } => convolution((conv.kernel, conv.groups)),
        Kind::Linear { .. } => convolution((1, 1)),
        Kind::BatchNorm { .. } | Kind::GroupNorm { .. } => 2 * channels * Dtype::F32.bytes(),
        Kind::ChannelConv { kernel, .. } => kernel * Dtype::F32.bytes(),
        _ => 0,
    }
}

/// `[C]`, zero-padded.
fn pad(values: &[f32]) -> Vec<f32> {
    let mut all = values.to_vec();
    all.resize(padded(values.len()), 0.0);
    all
}

/// The shape of a convolution's filters.
#[derive(Clone, Copy)]
struct FilterShape {
    cout: usize,
    cin: usize,
    side: usize,
    groups: usize,
}

impl FilterShape {
    /// The filters of a step, `side` x `side`, in `groups` groups.
    fn of(network: &Network, step: &Step, (side, groups): (usize, usize)) -> Self {
        let channels = |value| network.graph.shape(value).channels;
        Self {
            cout: channels(step.output),
            cin: channels(step.inputs[0]),
            side,
            groups,
        }
    }

    /// Dimensions of the packed filters: output channels, kernel area, input channels
    /// per group.
    fn packed(self) -> (usize, usize, usize) {
        let inputs = self.cin / self.groups;
        let area = self.side * self.side;
        match self.groups {
            1 => (padded(self.cout), area, padded(inputs)),
            // padding would have to be inserted after each group; `pack` checks that
            // none is needed
            _ => (self.cout, area, inputs),
        }
    }

    /// Transposes `[K, C / groups, R, S]` to `[K, R, S, C / groups]` and
    /// zero-pads the input and output channels.
    fn pack(self, weight: &[f32]) -> Result<Vec<f32>> {
        let inputs = self.cin / self.groups;
        let (outs, area, ins) = self.packed();
        let multiples_of_eight = self.cin.is_multiple_of(8) && self.cout.is_multiple_of(8);
        if self.groups > 1 && !multiples_of_eight {
            return Err(Error::Internal(format!(
                "a convolution in {} groups has {} input and {} output channels, which are not multiples of 8",
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
    fn filters_are_transposed_and_padded() {
        let filters = FilterShape {
            cout: 2,
            cin: 3,
            side: 2,
            groups: 1,
        };
        let weight: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let packed = filters.pack(&weight).unwrap();
        assert_eq!(packed.len(), 8 * 4 * 8);
        // filter 1, row 1, column 0, channel 2
        assert_eq!(packed[(4 + 2) * 8 + 2], (12 + 2 * 4 + 2) as f32);
        assert_eq!(packed.iter().sum::<f32>(), weight.iter().sum::<f32>());
    }
}
