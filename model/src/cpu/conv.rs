//! Direct convolution: an implicit GEMM that reads NHWC input in place, without
//! im2col. The epilogue runs on the sums in registers.
//!
//! ```text
//! y[n, i, j, o] = act(bias[o] + residual[n, i, j, o]
//!     + sum over r, s, c of w[o, c, r, s] * x[n, i * stride + r - padding, j * stride + s - padding, c])
//! ```

use std::ops::Range;

use super::amx_conv;
use super::conv_args::{
    ConvArgs, Output, OutputTarget, PanelChannels, PixelOffsets, Residual, TASK_PIXELS,
};
use super::element::Element;
use super::feature_map::{FeatureMap, SendPtr, View};
use super::isa::{Kernel, dispatch};
use super::micro::{self, PIXELS, WIDEST, multiply, store};
use super::narrow_groups;
use super::pack::PackedConv;
use super::pool::{Pool, RawMap};
use super::pool_epilogue::{PoolEpilogue, PoolTracker};
use super::simd::Simd;
use super::winograd::Winograd;
use super::winograd::tile_layout::TileLayout;
use crate::threads::ThreadPool;

/// The most input bytes of a task. A task reads its input once per panel, so the
/// input must stay in L2.
const TASK_INPUT: usize = 192 * 1024;

impl PackedConv {
    /// Words of workspace that [`PackedConv::run`] needs for this output.
    #[must_use]
    pub(crate) fn workspace(&self, output: &FeatureMap, threads: &ThreadPool) -> usize {
        if self.tiled() {
            return amx_conv::workspace(self, output) * threads.count();
        }
        TileLayout::new(self, output, threads.count())
            .map_or(0, |layout| layout.workspace(self) * threads.count())
    }

    /// Convolves `input` into the interior of `output` and pools the result if
    /// `pool` is given.
    ///
    /// # Panics
    /// If the feature maps do not match the convolution (channels, sizes,
    /// element type, quantization, a border narrower than the padding), or
    /// `workspace` is shorter than [`PackedConv::workspace`].
    pub(crate) fn run<E: Element>(
        &self,
        threads: &ThreadPool,
        input: View<E>,
        residual: Residual<E>,
        (mut output, pool): (Output<E>, Option<PoolEpilogue<E>>),
        workspace: &mut [f32],
    ) {
        let target = OutputTarget::new(&mut output);
        let pool = pool.map(|pool| self.pool_tracker(pool, &target));
        let map = target.map;
        self.check(&input, &residual, &map);
        assert!(
            workspace.len() >= self.workspace(&map, threads),
            "workspace is too small"
        );
        let args = ConvArgs {
            conv: self,
            input,
            residual: match residual {
                Residual::None => None,
                Residual::Add(view) => {
                    let start = SendPtr::new(view.data().as_ptr().cast_mut());
                    Some((start, *view.map()))
                }
                Residual::InPlace => Some((target.start, map)),
            },
            output: target,
            pool: pool.as_ref(),
            workspace: SendPtr::new(workspace.as_mut_ptr()),
        };
        match TileLayout::new(self, &map, threads.count()) {
            Some(layout) => Winograd { args, layout }.run(threads),
            None if self.tiled() => amx_conv::run(args, threads),
            None => args.run(threads),
        }
    }

    /// Sets up the pooling of `target` while it is written.
    fn pool_tracker<'a, E: Element>(
        &self,
        epilogue: PoolEpilogue<'a, E>,
        &OutputTarget { start, map, .. }: &OutputTarget<E>,
    ) -> PoolTracker<'a, E> {
        let affine = self.affines.output;
        let source = RawMap { start, map, affine };
        let pool = Pool::new(self.isa, epilogue.pooling, source, epilogue.output);
        PoolTracker::new(pool, self.groups * self.panels, epilogue.pending)
    }

    fn check<E: Element>(&self, input: &View<E>, residual: &Residual<E>, output: &FeatureMap) {
        let (spec, from) = (&self.spec, input.map());
        let size = |side: usize, kernel: usize| {
            (side + 2 * spec.padding)
                .checked_sub(kernel)
                .map_or(0, |room| room / spec.stride + 1)
        };
        assert!(
            E::PER_WORD == self.per_word
                && from.channels == spec.cin
                && output.channels == spec.cout
                && from.n == output.n
                && from.border >= spec.padding
                && output.height == size(from.height, spec.kernel.0)
                && output.width == size(from.width, spec.kernel.1),
            "{spec:?} from {from:?} to {output:?}"
        );
        if let Residual::Add(view) = residual {
            let border = view.map().border;
            assert_eq!(
                *view.map(),
                FeatureMap { border, ..*output },
                "layout of the residual"
            );
            assert_eq!(
                view.affine(),
                self.affines.residual,
                "quantization of the residual"
            );
        }
        assert_eq!(
            input.affine(),
            self.affines.input,
            "quantization of the input"
        );
    }

    /// Pixels of a task, and the number of parts that the panels are split
    /// into. Tasks are small enough for their input to stay in cache, and there
    /// are enough of them for every thread.
    fn split(&self, pixels: usize, threads: usize) -> (usize, usize) {
        let bytes = 4 * self.spec.cin / self.per_word * self.spec.stride * self.spec.stride;
        let most = (TASK_INPUT / bytes).clamp(8 * PIXELS, TASK_PIXELS);
        let min_tasks = 4 * threads;
        let chunk = most
            .min(pixels.div_ceil(min_tasks))
            .max(pixels.min(8 * PIXELS))
            .next_multiple_of(PIXELS);
        // Even chunks, and a multiple of the number of threads: a chunk of a
        // few remaining pixels would read all weights again.
        let even = |chunks: usize| match pixels.div_ceil(chunks) {
            few if few < 16 * PIXELS => few,
            many => many.next_multiple_of(PIXELS),
        };
        let each = |chunks: usize| match chunks {
            0 | 1 => 1,
            more => more.next_multiple_of(threads),
        };
        let chunk = match even(each(pixels / chunk)) {
            most if most <= TASK_PIXELS => most,
            _ => even(each(pixels.div_ceil(chunk))),
        };
        let chunks = pixels.div_ceil(chunk);
        let parts = min_tasks.div_ceil(chunks).min(self.groups * self.panels);
        (chunk, parts)
    }
}

impl<E: Element> ConvArgs<'_, E> {
    fn run(self, threads: &ThreadPool) {
        let (conv, map) = (self.conv, self.output.map);
        let pixels = map.n * map.height * map.width;
        let (chunk, parts) = conv.split(pixels, threads.count());
        let chunks = pixels.div_ceil(chunk);
        let panels = conv.groups * conv.panels;
        threads.for_each(chunks * parts, |task, _| {
            let (start, part) = (task / parts * chunk, task % parts);
            let first = |part: usize| part * panels / parts;
            let task = Task {
                args: self,
                pixels: start..pixels.min(start + chunk),
                panels: first(part)..first(part + 1),
                next_panel: first((part + 1) % parts),
            };
            let (pixels, panels) = (task.pixels.clone(), task.panels.clone());
            dispatch(conv.isa, task);
            self.notify_pool(&pixels, panels);
        });
    }
}

/// A range of output pixels times a range of output channel panels.
struct Task<'a, E> {
    args: ConvArgs<'a, E>,
    pixels: Range<usize>,
    panels: Range<usize>,
    /// The panel that the next task starts with, for prefetching.
    next_panel: usize,
}

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let offsets = PixelOffsets::new(&self.args, self.pixels.clone());
        for panel in self.panels.clone() {
            // SAFETY: these are the panel widths that `isa` packs weights for.
            unsafe {
                match self.args.conv.vectors {
                    1 => self.panel::<S, 1>(&offsets, panel),
                    2 => self.panel::<S, 2>(&offsets, panel),
                    _ if S::LANES == 16 => self.panel::<S, 4>(&offsets, panel),
                    _ => unreachable!("panels of 8-lane vectors have at most two vectors"),
                }
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    /// Computes one panel for all pixels of the task.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&self, offsets: &PixelOffsets, panel: usize) {
        let conv = self.args.conv;
        let width = V * S::LANES;
        let group = panel / conv.panels;
        let next = if panel + 1 < self.panels.end {
            panel + 1
        } else {
            self.next_panel
        };
        // SAFETY: the weights contain all panels up to this one, and a pixel
        // contains all channels of the group.
        let panel = unsafe {
            Panel {
                task: self,
                offsets,
                weights: conv.weights.as_ptr().add(panel * conv.k_words * width),
                next: next.saturating_sub(panel) * conv.k_words * width,
                input: self.args.input.data().as_ptr().add(group * conv.group_cin),
                channels: self.args.channels(panel),
            }
        };
        for (i, tile) in micro::tiles(self.pixels.len()).enumerate() {
            // SAFETY: as above; a tile has 1 to 6 of the task's pixels.
            unsafe {
                match tile.len() {
                    6 => panel.tile::<S, 6, V>(i, tile),
                    5 => panel.tile::<S, 5, V>(i, tile),
                    4 => panel.tile::<S, 4, V>(i, tile),
                    3 => panel.tile::<S, 3, V>(i, tile),
                    2 => panel.tile::<S, 2, V>(i, tile),
                    _ => panel.tile::<S, 1, V>(i, tile),
                }
            }
        }
    }
}

/// A panel of output channels with what the micro-kernel needs for all pixels
/// of a task.
struct Panel<'a, E> {
    task: &'a Task<'a, E>,
    offsets: &'a PixelOffsets,
    weights: *const f32,
    /// Distance from these weights to those of the next panel; 0 if there is
    /// none.
    next: usize,
    /// The input's first channel of the group.
    input: *const E,
    channels: PanelChannels,
}

impl<E: Element> Panel<'_, E> {
    /// Computes the `P` pixels of the task's register tile `i`. The first tiles
    /// also prefetch the next panel's weights into L2, one cache line per step.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, i: usize, tile: Range<usize>) {
        let args = &self.task.args;
        let start = tile.start;
        // SAFETY: the offsets are those of pixels inside the feature maps.
        unsafe {
            let mut corners: [*const f32; P] = [self.input.cast(); P];
            for p in 0..P {
                corners[p] = self.input.add(self.offsets.input[start + p]).cast();
            }
            let mut sums = [[S::splat(0.0); V]; P];
            let row = args.input.map().row_stride() * size_of::<E>();
            let lines = args.conv.k_words * S::LANES;
            let ahead = self.next + i.min(V - 1) * lines;
            let runs = &args.conv.runs;
            if S::PAIRS && args.conv.rows_in_group == 2 {
                sums = S::multiply_pairs(&corners, runs, row, self.weights);
            } else if S::PERMUTES
                && V == 1
                && let Some(groups) = &args.conv.narrow
            {
                let runs = (&runs[..], row);
                narrow_groups::multiply::<E, S, P, V>(
                    &corners,
                    runs,
                    groups,
                    self.weights,
                    &mut sums,
                );
            } else {
                if S::SIGNED_INT8 && E::PER_WORD == 4 {
                    sums = [self.first_sums::<S, V>(); P];
                }
                let weights = (self.weights, self.weights.wrapping_add(ahead));
                multiply::<E, S, P, V>(&corners, runs, row, weights, &mut sums);
            }
            // The most frequent tile stays in registers. The others go through
            // memory and a loop, because unrolling them would make up most of
            // the binary.
            if P == PIXELS && self.channels.valid == V * S::LANES && args.output.floats.is_none() {
                args.store_tile(&mut sums, &self.channels, self.offsets.stores_from(start));
                return;
            }
            let mut rows = [0f32; PIXELS * WIDEST];
            let rows = rows.as_mut_ptr();
            store(&sums, &std::array::from_fn(|p| rows.add(p * V * S::LANES)));
            for (p, pixel) in tile.enumerate() {
                let row = rows.add(p * V * S::LANES);
                let mut sums = [S::splat(0.0); V];
                for v in 0..V {
                    sums[v] = S::load(row.add(v * S::LANES));
                }
                self.finish(pixel, sums);
            }
        }
    }

    /// What the sums of a pixel start with if the 8-bit products have signed
    /// operands.
    #[inline(always)]
    unsafe fn first_sums<S: Simd, const V: usize>(&self) -> [S; V] {
        // SAFETY: the sums are padded to whole panels.
        unsafe {
            let mut sums = [S::splat(0.0); V];
            for v in 0..V {
                sums[v] = S::load(self.channels.first_sums.add(v * S::LANES));
            }
            sums
        }
    }

    /// Finishes one of the task's pixels.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(&self, pixel: usize, sums: [S; V]) {
        let (args, offsets) = (&self.task.args, self.offsets.stores(pixel));
        // SAFETY: the offsets are those of pixels inside the feature maps; no
        // other task of this step writes this pixel of this panel.
        unsafe { args.store_sums(sums, &self.channels, offsets) };
    }
}
