//! The steps for one batch size as a list of launches, with addresses in the
//! arena of one lane.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::CudaStream;

use super::dnn::{BoundPlan, Convolution, ConvolutionOperands, ExecutionPlan, Handle};
use super::error::CudaError;
use super::kernels::{Kernels, Launch};
use super::network::Network;
use super::tensor::{DeviceTensor, padded};
use super::tune::Tuner;
use super::weights::Weights;
use crate::fuse::{Kind, Step};
use crate::graph::Value;

/// One launch of a cuDNN plan or a kernel.
enum Call {
    Convolution(BoundPlan),
    Kernel(Launch),
}

/// The launches of all steps except the first, which depends on the kind of
/// input.
pub(super) struct Program {
    /// Step index and launch, in execution order.
    calls: Vec<(usize, Call)>,
}

/// The execution plans of a lane's convolutions. Equal convolutions share a plan.
#[derive(Default)]
pub(super) struct Plans(HashMap<Convolution, Arc<ExecutionPlan>>);

impl Plans {
    /// Chooses a plan for every convolution of `network` in batches of `n`.
    pub(super) fn choose(
        &mut self,
        network: &Network,
        (handle, stream): (&Handle, &Arc<CudaStream>),
        tuner: &Tuner,
        n: usize,
    ) -> Result<(), CudaError> {
        for step in &network.steps {
            let Some(convolution) = convolution(network, step, n) else {
                continue;
            };
            if let Entry::Vacant(entry) = self.0.entry(convolution) {
                entry.insert(tuner.choose(handle, stream, convolution, network.dtype)?);
            }
        }
        Ok(())
    }

    /// Size of the largest workspace in bytes.
    pub(super) fn workspace(&self) -> usize {
        let each = self.0.values().map(|plan| plan.workspace());
        each.max().unwrap_or(0)
    }
}

/// The convolution of a step; `None` for other steps.
pub(super) fn convolution(network: &Network, step: &Step, n: usize) -> Option<Convolution> {
    let dims = |value: Value| {
        let shape = network.graph.shape(value);
        [padded(shape.channels), shape.height, shape.width]
    };
    let (conv, residual, relu) = match step.kind {
        Kind::Conv {
            conv,
            residual,
            relu,
            ..
        } => (
            (conv.kernel, conv.stride, conv.padding, conv.groups),
            residual,
            relu,
        ),
        Kind::Linear { .. } => ((1, 1, 0, 1), false, false),
        _ => return None,
    };
    let (kernel, stride, padding, groups) = conv;
    Some(Convolution {
        n,
        input: dims(step.inputs[0]),
        output: dims(step.output),
        kernel,
        stride,
        padding,
        groups,
        residual,
        relu,
    })
}

/// Size of the group norm statistics for batches of `n`, in bytes.
pub(super) fn statistics_bytes(network: &Network, n: usize) -> usize {
    let each = network.steps.iter().map(|step| match step.kind {
        Kind::GroupNorm { groups, .. } => 8 * groups * n,
        _ => 0,
    });
    each.max().unwrap_or(0)
}

impl Program {
    /// Creates the launches for batches of `n`. `map` returns the device tensor of
    /// a value. `workspace` is the address of memory for the plans' workspaces and
    /// the group norm statistics.
    pub(super) fn new(
        network: &Network,
        n: usize,
        weights: &Weights,
        (kernels, plans): (&Kernels, &Plans),
        map: impl Fn(Value) -> Result<DeviceTensor, CudaError>,
        workspace: u64,
    ) -> Result<Self, CudaError> {
        let mut calls = Vec::new();
        for (index, step) in network.steps.iter().enumerate() {
            let y = map(step.output)?;
            let x = step
                .inputs
                .iter()
                .map(|&value| map(value))
                .collect::<Result<Vec<_>, _>>()?;
            let packed = weights.of(index);
            let mut kernel = |launch: Launch| calls.push((index, Call::Kernel(launch)));
            match step.kind {
                Kind::Input => {}
                Kind::Conv { .. } | Kind::Linear { .. } => {
                    let plan = convolution(network, step, n).and_then(|c| plans.0.get(&c));
                    let plan = plan
                        .ok_or_else(|| CudaError::Internal(format!("step {index} has no plan")))?;
                    let (weight, bias) = packed.conv()?;
                    // if the plan is for a part of the batch, it runs several times
                    let images = plan.images();
                    for k in 0..n / images {
                        let part = |map: &DeviceTensor| map.part(k, images, network.dtype.bytes());
                        let bound = plan.bind(&ConvolutionOperands {
                            x: &part(&x[0]),
                            weight,
                            residual: x.get(1).map(part).as_ref(),
                            bias,
                            y: &part(&y),
                            workspace,
                        })?;
                        calls.push((index, Call::Convolution(bound)));
                    }
                }
                Kind::BatchNorm { relu, .. } => {
                    kernel(kernels.scale_shift(&x[0], packed.norm()?, &y, relu)?);
                }
                Kind::GroupNorm { groups, relu, .. } => {
                    let affine = packed.norm()?;
                    let launches = kernels.group_norm(&x, workspace, affine, &y, (groups, relu))?;
                    launches.into_iter().for_each(kernel);
                }
                Kind::MaxPool {
                    kernel: side,
                    stride,
                    padding,
                    outside,
                } => kernel(kernels.max_pool(&x[0], &y, (side, stride, padding), outside)?),
                Kind::AvgPool { size } => kernel(kernels.average_pool(&x[0], &y, size)?),
                Kind::BlurPool => kernel(kernels.blur_pool(&x[0], &y)?),
                Kind::ZeroPad { stride } => kernel(kernels.zero_pad(&x[0], &y, stride)?),
                Kind::GlobalAvgPool => kernel(kernels.global_average_pool(&x[0], &y)?),
                Kind::ChannelConv { kernel: side, .. } => {
                    kernel(kernels.channel_conv(&x[0], packed.channel_conv()?, &y, side)?);
                }
                Kind::Excite { relu } => {
                    kernel(kernels.excite([&x[0], &x[1], &x[2]], &y, relu)?);
                }
                Kind::Highway => kernel(kernels.highway([&x[0], &x[1], &x[2]], &y)?),
            }
        }
        Ok(Self { calls })
    }

    /// The cuDNN engine of step `index`, its workspace, and the number of parts if
    /// the batch is split. `None` if the step is not a convolution.
    pub(super) fn engine(&self, index: usize) -> Option<String> {
        let of_step = self.calls.iter().filter(|(step, _)| *step == index);
        let mut runs = of_step.filter_map(|(_, call)| match call {
            Call::Convolution(bound) => Some(bound.plan()),
            Call::Kernel(_) => None,
        });
        let plan = runs.next()?;
        let (engine, megabytes) = (plan.engine(), plan.workspace() as f64 / 1e6);
        let text = format!("cudnn engine {engine}, {megabytes:.1} MB");
        Some(match 1 + runs.count() {
            1 => text,
            parts => format!("{text}, {parts} parts"),
        })
    }

    /// Queues all launches on `stream`.
    pub(super) fn run(&self, handle: &Handle, stream: &CudaStream) -> Result<(), CudaError> {
        self.calls
            .iter()
            .try_for_each(|(_, call)| call.run(handle, stream))
    }

    /// Like [`Program::run`], but synchronizes after each step and calls `done`
    /// with its index.
    pub(super) fn run_observed(
        &self,
        handle: &Handle,
        stream: &CudaStream,
        done: &mut dyn FnMut(usize),
    ) -> Result<(), CudaError> {
        for (at, (step, call)) in self.calls.iter().enumerate() {
            call.run(handle, stream)?;
            // synchronize after the last launch of a step
            if self.calls.get(at + 1).is_none_or(|(next, _)| next != step) {
                stream.synchronize()?;
                done(*step);
            }
        }
        Ok(())
    }
}

impl Call {
    fn run(&self, handle: &Handle, stream: &CudaStream) -> Result<(), CudaError> {
        match self {
            Self::Convolution(bound) => bound.run(handle),
            Self::Kernel(launch) => launch.run(stream),
        }
    }
}
