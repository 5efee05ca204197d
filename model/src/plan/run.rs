//! A forward pass: the steps one after another, each a call of a kernel.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::{Arena, CpuPlan, Done};
use crate::backend::Input;
use crate::cpu::{
    self, AlignedBuffer, Element, FeatureMap, Output as Target, PoolEpilogue, PoolWindow, Pooling,
    Residual, View, ViewMut,
};
use crate::error::{Error, Result};
use crate::fuse::{Kind, Step, runs_with};
use crate::graph::{Outside, Value};
use crate::outputs::{Output, Requested};
use crate::packed::{Packed, activation};

impl CpuPlan {
    /// Runs all steps on feature maps of `E`: the early ones for a few images
    /// at a time, then the others for the whole batch.
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

    /// Some images of an input.
    fn part<'a>(&self, input: Input<'a>, images: Range<usize>) -> Input<'a> {
        let values = 3 * self.size * self.size;
        match input {
            Input::Pixels(pixels) => Input::Pixels(&pixels[images]),
            Input::Planes(planes) => {
                Input::Planes(&planes[images.start * values..images.end * values])
            }
        }
    }

    /// Some steps for some images, which `input` holds.
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
            // outputs are lent out of the arena while the inputs are read from it
            let slot = self.slot(step.output)?;
            let pooled = pool.map(|pool| self.slot(pool.output)).transpose()?;
            let mut lent = pass.arena.lend(slot, pooled);
            let done = pass.step::<E>(step, packed, pool, &mut lent);
            pass.arena.take_back(slot, pooled, lent);
            done?;
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

/// What a step writes, out of the arena while it runs.
struct Lent {
    to: AlignedBuffer,
    /// What the pool that runs with it writes.
    pooled: AlignedBuffer,
    workspace: AlignedBuffer,
    pending: Vec<AtomicUsize>,
}

impl Arena {
    /// The slot that a step writes, and that of the pool that runs with it.
    fn lend(&mut self, slot: usize, pooled: Option<usize>) -> Lent {
        Lent {
            to: std::mem::take(&mut self.slots[slot]),
            pooled: pooled.map_or_else(AlignedBuffer::default, |slot| {
                std::mem::take(&mut self.slots[slot])
            }),
            workspace: std::mem::take(&mut self.workspace),
            pending: std::mem::take(&mut self.pending),
        }
    }

    fn take_back(&mut self, slot: usize, pooled: Option<usize>, lent: Lent) {
        self.slots[slot] = lent.to;
        if let Some(slot) = pooled {
            self.slots[slot] = lent.pooled;
        }
        self.workspace = lent.workspace;
        self.pending = lent.pending;
    }
}

/// What the steps of one pass share.
struct Pass<'a> {
    plan: &'a CpuPlan,
    arena: &'a mut Arena,
    input: Input<'a>,
    /// Which of the batch's.
    images: Range<usize>,
}

impl Pass<'_> {
    /// The map of this pass's images of a value, and where it lies in the slot.
    fn place(&self, value: Value) -> Result<(FeatureMap, Range<usize>)> {
        let map = self.plan.map(value, self.images.len())?;
        let before = match self.plan.layout.is_whole(value) {
            true => self.images.start * map.image_stride(),
            false => 0,
        };
        Ok((map, before..before + map.len()))
    }

    /// A value's interior as floats, `[N, H, W, C]`.
    fn values<E: Element>(&self, value: Value) -> Result<Vec<f32>> {
        let slot = &self.arena.slots[self.plan.slot(value)?];
        let (map, place) = self.place(value)?;
        if value == self.plan.graph.output() {
            return Ok(slot[place].to_vec());
        }
        let view = self.view::<E>(value)?;
        let rows = (0..map.n).flat_map(|n| (0..map.height).map(move |y| (n, y)));
        let numbers = rows.flat_map(|(n, y)| view.row(n, y).iter());
        Ok(numbers.map(|x| x.to_f32(view.affine())).collect())
    }

    fn view<E: Element>(&self, value: Value) -> Result<View<'_, E>> {
        let (map, place) = self.place(value)?;
        let slot = &self.arena.slots[self.plan.slot(value)?];
        // a value whose slot is lent out would be read while it is written
        let data = slot.elements().get(place);
        let data = data.ok_or_else(|| Error::Internal(format!("value {value} is overwritten")))?;
        Ok(View::new(data, map, self.plan.affines[value]))
    }

    fn step<E: Element>(
        &self,
        step: &Step,
        packed: &Packed,
        pool: Option<&Step>,
        lent: &mut Lent,
    ) -> Result<()> {
        let Lent {
            to,
            pooled,
            workspace,
            pending,
        } = lent;
        let (map, place) = self.place(step.output)?;
        let affine = self.plan.affines[step.output];
        if let (Kind::Linear { .. }, Packed::Conv(conv)) = (&step.kind, packed) {
            let output = Target::Floats(ViewMut::new(&mut to[place], map, affine));
            let x = self.view::<E>(step.inputs[0])?;
            let output = (output, None);
            conv.run(&self.plan.threads, x, Residual::None, output, workspace);
            return Ok(());
        }
        let output = self.output::<E>(step.output, to)?;
        match packed {
            Packed::Conv(conv) => {
                let residual = self.residual(step)?;
                let x = self.view(step.inputs[0])?;
                let follower = match pool {
                    Some(pool) => Some(PoolEpilogue {
                        pooling: pooling(&pool.kind)?,
                        output: self.output(pool.output, pooled)?,
                        pending,
                    }),
                    None => None,
                };
                let output = (Target::Same(output), follower);
                conv.run(&self.plan.threads, x, residual, output, workspace);
                Ok(())
            }
            _ => self.small(step, packed, output),
        }
    }

    /// Where a value is written, its border zeroed.
    fn output<'a, E: Element>(
        &self,
        value: Value,
        to: &'a mut AlignedBuffer,
    ) -> Result<ViewMut<'a, E>> {
        let (map, place) = self.place(value)?;
        let affine = self.plan.affines[value];
        let mut output = ViewMut::new(&mut to.elements_mut::<E>()[place], map, affine);
        output.clear_border();
        Ok(output)
    }

    /// What a convolution adds to its sums.
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

    /// The steps that are no convolutions.
    fn small<E: Element>(&self, step: &Step, packed: &Packed, output: ViewMut<E>) -> Result<()> {
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
            (Kind::GroupNorm { groups, relu, .. }, Packed::Norm(scale, shift)) => {
                let norm = (&scale[..], &shift[..]);
                cpu::group_norm(threads, *groups, norm, activation(*relu), x(0)?, output);
            }
            (Kind::MaxPool { outside, .. }, _) => {
                let view = match outside {
                    Outside::Nothing => x(0)?,
                    // the border's zeros compete: they are read as part of the map
                    Outside::Zeros => x(0)?.with_border_inside(),
                };
                cpu::pool(threads, isa, pooling(&step.kind)?, view, output);
            }
            (Kind::AvgPool { .. } | Kind::GlobalAvgPool, _) => {
                cpu::pool(threads, isa, pooling(&step.kind)?, x(0)?, output);
            }
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
                    "{kind:?} has other weights than it needs"
                )));
            }
        }
        Ok(())
    }
}

/// How a step pools.
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
                Outside::Zeros => 0,
            },
        }),
        Kind::AvgPool { size } => Pooling::Average(PoolWindow {
            size,
            stride: size,
            padding: 0,
        }),
        Kind::GlobalAvgPool => Pooling::GlobalAverage,
        _ => return Err(Error::Internal(format!("{kind:?} is no pool"))),
    })
}
