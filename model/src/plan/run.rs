//! A forward pass: runs the steps in order. Each step calls one kernel; a pooling
//! step may be fused into the kernel of the convolution before it.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::{Arena, CpuPlan, Done};
use crate::backend::Input;
use crate::cpu::{
    self, AlignedBuffer, Element, FeatureMap, GroupNorm, Output as Target, PoolEpilogue,
    PoolWindow, Pooling, Residual, View, ViewMut,
};
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step, runs_with};
use crate::graph::{Outside, Value};
use crate::outputs::{Output, Requested};
use crate::packed::{Packed, activation};

impl CpuPlan {
    /// Runs all steps on feature maps with elements of type `E`: the early steps for
    /// a few images at a time, then the other steps for the whole batch.
    pub(super) fn run<E: Element>(
        &self,
        arena: &mut Arena,
        input: Input,
        requested: Requested,
        observe: &mut (dyn FnMut(Done) + Send),
    ) -> Result<Output> {
        let n = input.images(self.size)?;
        let early = self.layout.early();
        for first in (0..n).step_by(early.images) {
            let images = first..n.min(first.saturating_add(early.images));
            let part = self.part(input, images.clone());
            self.run_steps::<E>(0..early.steps, arena, part, images, observe)?;
        }
        self.run_steps::<E>(early.steps..self.steps.len(), arena, input, 0..n, observe)?;
        let pass = Pass {
            plan: self,
            arena,
            input,
            images: 0..n,
        };
        requested.read(|value| pass.values::<E>(value))
    }

    /// The images `images` of `input`.
    fn part<'a>(&self, input: Input<'a>, images: Range<usize>) -> Input<'a> {
        let values = 3 * self.size * self.size;
        match input {
            Input::Pixels(pixels) => Input::Pixels(&pixels[images]),
            Input::Planes(planes) => {
                Input::Planes(&planes[images.start * values..images.end * values])
            }
        }
    }

    /// Runs some of the steps for some images of the batch. `input` contains only
    /// these images.
    fn run_steps<E: Element>(
        &self,
        steps: Range<usize>,
        arena: &mut Arena,
        input: Input,
        images: Range<usize>,
        observe: &mut (dyn FnMut(Done) + Send),
    ) -> Result<()> {
        let pass = Pass {
            plan: self,
            arena,
            input,
            images,
        };
        let mut at = steps.start;
        while at < steps.end {
            let (step, packed) = &self.steps[at];
            let next = self.steps[at + 1..steps.end].first();
            let pool = next
                .map(|(next, _)| next)
                .filter(|next| runs_with(step, next));
            let start = Instant::now();
            // The output buffers are moved out of the arena while the step runs, because it
            // borrows the other slots to read its inputs.
            let slot = self.slot(step.output)?;
            let pool_slot = pool.map(|pool| self.slot(pool.output)).transpose()?;
            let mut buffers = pass.arena.take_buffers(slot, pool_slot);
            let result = pass.step::<E>(step, packed, pool, &mut buffers);
            pass.arena.put_back(slot, pool_slot, buffers);
            result?;
            // the time of a fused pooling step is included in that of its convolution
            let times = [start.elapsed(), Duration::ZERO];
            let steps = std::iter::once(step).chain(pool);
            for (step, time) in steps.zip(times) {
                let values = &|| pass.values::<E>(step.output).unwrap_or_default();
                observe(Done {
                    step: at,
                    time,
                    values,
                });
                at += 1;
            }
        }
        Ok(())
    }
}

/// The buffers that a step writes, moved out of the arena while it runs.
struct StepBuffers {
    output: AlignedBuffer,
    /// The output of the pooling step that is fused with it; empty if there is none.
    pool_output: AlignedBuffer,
    workspace: AlignedBuffer,
    pending: Vec<AtomicUsize>,
}

impl Arena {
    /// Moves out the slot that a step writes, the slot of the pooling step that is
    /// fused with it, the workspace and the counters.
    fn take_buffers(&mut self, slot: usize, pool_slot: Option<usize>) -> StepBuffers {
        StepBuffers {
            output: std::mem::take(&mut self.slots[slot]),
            pool_output: pool_slot.map_or_else(AlignedBuffer::default, |slot| {
                std::mem::take(&mut self.slots[slot])
            }),
            workspace: std::mem::take(&mut self.workspace),
            pending: std::mem::take(&mut self.pending),
        }
    }

    /// Moves the buffers back into the arena.
    fn put_back(&mut self, slot: usize, pool_slot: Option<usize>, buffers: StepBuffers) {
        self.slots[slot] = buffers.output;
        if let Some(slot) = pool_slot {
            self.slots[slot] = buffers.pool_output;
        }
        self.workspace = buffers.workspace;
        self.pending = buffers.pending;
    }
}

/// The state that the steps share while they run for some images of a batch.
struct Pass<'a> {
    plan: &'a CpuPlan,
    arena: &'a mut Arena,
    input: Input<'a>,
    /// The indices of the images in the batch.
    images: Range<usize>,
}

impl Pass<'_> {
    /// The feature map of `value` for the images of this pass, and the range of its
    /// elements in its slot.
    fn map_and_range(&self, value: Value) -> Result<(FeatureMap, Range<usize>)> {
        let map = self.plan.map(value, self.images.len())?;
        let start = match self.plan.layout.is_whole(value) {
            true => self.images.start * map.image_stride(),
            false => 0,
        };
        Ok((map, start..start + map.len()))
    }

    /// The elements of `value` without its border, converted to f32: `[N, H, W, C]`.
    fn values<E: Element>(&self, value: Value) -> Result<Vec<f32>> {
        let slot = &self.arena.slots[self.plan.slot(value)?];
        let (map, range) = self.map_and_range(value)?;
        if value == self.plan.graph.output() {
            return Ok(slot[range].to_vec());
        }
        let view = self.view::<E>(value)?;
        let affine = view.affine();
        let mut values = Vec::with_capacity(map.n * map.height * map.width * map.channels);
        for (n, y) in (0..map.n).flat_map(|n| (0..map.height).map(move |y| (n, y))) {
            // a row at a time: the compiler vectorises a loop of known length
            values.extend(view.row(n, y).iter().map(|x| x.to_f32(affine)));
        }
        Ok(values)
    }

    /// A read-only view of `value` for the images of this pass.
    fn view<E: Element>(&self, value: Value) -> Result<View<'_, E>> {
        let (map, range) = self.map_and_range(value)?;
        let slot = &self.arena.slots[self.plan.slot(value)?];
        // the slot that the running step writes is moved out of the arena, so it is empty
        let data = slot.elements().get(range);
        let data = data.ok_or_else(|| {
            Error::Internal(format!(
                "a step reads value {value} from the slot it writes"
            ))
        })?;
        Ok(View::new(data, map, self.plan.affines[value]))
    }

    /// Runs `step`, and in the same kernel the pooling step `pool` that is fused with
    /// it.
    fn step<E: Element>(
        &self,
        step: &Step,
        packed: &Packed,
        pool: Option<&Step>,
        buffers: &mut StepBuffers,
    ) -> Result<()> {
        let StepBuffers {
            output: buffer,
            pool_output: pool_buffer,
            workspace,
            pending,
        } = buffers;
        let (map, range) = self.map_and_range(step.output)?;
        let affine = self.plan.affines[step.output];
        if let (Kind::Linear { .. }, Packed::Conv(conv)) = (&step.kind, packed) {
            let output = Target::Floats(ViewMut::new(&mut buffer[range], map, affine));
            let x = self.view::<E>(step.inputs[0])?;
            let output = (output, None);
            conv.run(&self.plan.threads, x, Residual::None, output, workspace);
            return Ok(());
        }
        let output = self.output::<E>(step.output, buffer)?;
        match packed {
            Packed::Conv(conv) => {
                let residual = self.residual(step)?;
                let x = self.view(step.inputs[0])?;
                let pool_epilogue = match pool {
                    Some(pool) => Some(PoolEpilogue {
                        pooling: pooling(&pool.kind)?,
                        output: self.output(pool.output, pool_buffer)?,
                        pending,
                    }),
                    None => None,
                };
                let output = (Target::Same(output), pool_epilogue);
                conv.run(&self.plan.threads, x, residual, output, workspace);
                Ok(())
            }
            _ => self.run_other(step, packed, output),
        }
    }

    /// A writable view of `value` in `buffer`. Its border is set to zero.
    fn output<'a, E: Element>(
        &self,
        value: Value,
        buffer: &'a mut AlignedBuffer,
    ) -> Result<ViewMut<'a, E>> {
        let (map, range) = self.map_and_range(value)?;
        let affine = self.plan.affines[value];
        let mut output = ViewMut::new(&mut buffer.elements_mut::<E>()[range], map, affine);
        output.clear_border();
        Ok(output)
    }

    /// Where a convolution reads its residual from.
    fn residual<E: Element>(&self, step: &Step) -> Result<Residual<'_, E>> {
        let layout = &self.plan.layout;
        Ok(match step.kind {
            Kind::Conv { residual: true, .. } => {
                let value = step.inputs[1];
                if layout.slot(value) == layout.slot(step.output) {
                    Residual::InPlace
                } else {
                    Residual::Add(self.view(value)?)
                }
            }
            _ => Residual::None,
        })
    }

    /// Runs a step other than a convolution or the classifier.
    fn run_other<E: Element>(
        &self,
        step: &Step,
        packed: &Packed,
        output: ViewMut<E>,
    ) -> Result<()> {
        let plan = self.plan;
        let (threads, isa) = (&plan.threads, plan.config.isa);
        let x = |i: usize| self.view::<E>(step.inputs[i]);
        match (&step.kind, packed) {
            (Kind::Input, _) => match self.input {
                Input::Pixels(images) => {
                    let preprocessing = (plan.mean, plan.std);
                    cpu::normalize_pixels(threads, isa, images, preprocessing, output);
                }
                Input::Planes(planes) => cpu::pad_planes(threads, isa, planes, output),
            },
            (Kind::BatchNorm { relu, .. }, Packed::Norm(scale, shift)) => {
                let norm = (&scale[..], &shift[..]);
                cpu::scale_shift(threads, isa, norm, activation(*relu), x(0)?, output);
            }
            (
                &Kind::GroupNorm {
                    groups,
                    residual,
                    relu,
                    ..
                },
                Packed::Norm(scale, shift),
            ) => {
                let norm = GroupNorm {
                    groups,
                    scale,
                    shift,
                    activation: activation(relu),
                };
                let residual = residual.then(|| x(1)).transpose()?;
                cpu::group_norm(threads, norm, (x(0)?, residual), output);
            }
            (Kind::MaxPool { outside, .. }, _) => {
                let view = match outside {
                    Outside::Nothing => x(0)?,
                    // the padding counts as zeros: the zero border is read as part of the map
                    Outside::Zeros => x(0)?.with_border_inside(),
                };
                cpu::pool(threads, isa, pooling(&step.kind)?, view, output);
            }
            (Kind::AvgPool { .. } | Kind::GlobalAvgPool, _) => {
                cpu::pool(threads, isa, pooling(&step.kind)?, x(0)?, output);
            }
            (Kind::BlurPool, _) => cpu::blur_pool(threads, isa, x(0)?, output),
            (&Kind::ZeroPad { stride }, _) => cpu::zero_pad(threads, stride, x(0)?, output),
            (Kind::ChannelConv { .. }, Packed::ChannelConv(weight)) => {
                cpu::channel_conv(threads, weight, x(0)?, output);
            }
            (Kind::Excite { relu }, _) => {
                let inputs = (x(0)?, x(1)?, x(2)?);
                cpu::excite(threads, isa, activation(*relu), inputs, output);
            }
            (Kind::Highway, _) => cpu::highway(threads, x(0)?, x(1)?, x(2)?, output),
            (kind, _) => {
                return Err(Error::Internal(format!(
                    "the packed weights do not match step {kind:?}"
                )));
            }
        }
        Ok(())
    }
}

/// The kind and the window of a pooling step.
fn pooling(kind: &Kind) -> Result<Pooling> {
    Ok(match *kind {
        Kind::MaxPool {
            kernel: size,
            stride,
            padding,
            outside,
        } => Pooling::Max(PoolWindow {
            size,
            stride,
            padding: match outside {
                Outside::Nothing => padding,
                // `run_other` makes the padding a part of the input
                Outside::Zeros => 0,
            },
        }),
        Kind::AvgPool { size } => Pooling::Average(PoolWindow {
            size,
            stride: size,
            padding: 0,
        }),
        Kind::GlobalAvgPool => Pooling::GlobalAverage,
        _ => return Err(Error::Internal(format!("{kind:?} is not a pooling step"))),
    })
}
