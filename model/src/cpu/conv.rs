//! Direct convolution: an implicit matrix product over NHWC, its pixels read
//! in place, with bias, residual, activation and rounding in registers.
//!
//! ```text
//! y[n, i, j, o] = act(bias[o] + residual[n, i, j, o]
//!     + sum over r, s, c of w[o, c, r, s] * x[n, i * stride + r - padding, j * stride + s - padding, c])
//! ```

use std::ops::Range;

use super::element::Element;
use super::follow::{Follow, Follower};
use super::level::{Kernel, dispatch};
use super::map::{Map, Shared, View};
use super::micro::{self, PIXELS, WIDEST, multiply, store};
use super::operands::{Offsets, Operands, Output, Outputs, Residual, TASK_PIXELS, Target};
use super::pack::PackedConv;
use super::pool::{Pool, Source};
use super::simd::Simd;
use super::tiles;
use super::winograd::{Layout, Winograd};
use crate::cores::Cores;

/// Bytes of input that a task walks once for each panel: well inside L2.
const TASK_INPUT: usize = 192 * 1024;

impl PackedConv {
    /// Words of workspace that [`PackedConv::run`] needs for this output.
    #[must_use]
    pub(crate) fn workspace(&self, output: &Map, cores: &Cores) -> usize {
        if self.tiled() {
            return tiles::workspace(self, output) * cores.count();
        }
        Layout::new(self, output, cores.count())
            .map_or(0, |layout| layout.workspace(self) * cores.count())
    }

    /// Convolves `input` into `output`'s interior, and has `follower` pool it.
    ///
    /// # Panics
    /// When the maps do not fit the convolution: channels, sizes, a border
    /// narrower than the padding; when the numbers are not those it was packed
    /// for; when `workspace` is shorter than [`PackedConv::workspace`] asks.
    pub(crate) fn run<E: Element>(
        &self,
        cores: &Cores,
        input: View<E>,
        residual: Residual<E>,
        (mut output, follower): (Output<E>, Option<Follower<E>>),
        workspace: &mut [f32],
    ) {
        let target = Target::new(&mut output);
        let follow = follower.map(|follower| self.follow(follower, &target));
        let map = target.map;
        self.check(&input, &residual, &map);
        assert!(workspace.len() >= self.workspace(&map, cores), "workspace");
        let operands = Operands {
            conv: self,
            input,
            add: match residual {
                Residual::None => None,
                Residual::Add(view) => {
                    let start = Shared::new(view.data().as_ptr().cast_mut());
                    Some((start, *view.map()))
                }
                Residual::InPlace => Some((target.start, map)),
            },
            output: target,
            follow: follow.as_ref(),
            workspace: Shared::new(workspace.as_mut_ptr()),
        };
        match Layout::new(self, &map, cores.count()) {
            Some(layout) => Winograd { operands, layout }.run(cores),
            None if self.tiled() => tiles::run(operands, cores),
            None => operands.run(cores),
        }
    }

    /// What pools `target` while it is written.
    fn follow<'a, E: Element>(
        &self,
        follower: Follower<'a, E>,
        &Target { start, map, .. }: &Target<E>,
    ) -> Follow<'a, E> {
        let affine = self.meanings.output;
        let source = Source { start, map, affine };
        let pool = Pool::new(self.level, follower.pooling, source, follower.output);
        Follow::new(pool, self.groups * self.panels, follower.left)
    }

    fn check<E: Element>(&self, input: &View<E>, residual: &Residual<E>, output: &Map) {
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
            assert_eq!(*view.map(), Map { border, ..*output }, "residual");
            assert_eq!(view.affine(), self.meanings.residual, "residual");
        }
        assert_eq!(input.affine(), self.meanings.input, "input");
    }

    /// Pixels of a task, and into how many parts the panels are split: the
    /// first to stay in cache, the second to occupy every core.
    fn split(&self, pixels: usize, cores: usize) -> (usize, usize) {
        let bytes = 4 * self.spec.cin / self.per_word * self.spec.stride * self.spec.stride;
        let most = (TASK_INPUT / bytes).clamp(8 * PIXELS, TASK_PIXELS);
        let wanted = 4 * cores;
        let chunk = most
            .min(pixels.div_ceil(wanted))
            .max(pixels.min(8 * PIXELS))
            .next_multiple_of(PIXELS);
        // Even chunks, as many for each core: a few pixels left over would
        // read all the weights once more.
        let even = |chunks: usize| match pixels.div_ceil(chunks) {
            few if few < 16 * PIXELS => few,
            many => many.next_multiple_of(PIXELS),
        };
        let each = |chunks: usize| match chunks {
            0 | 1 => 1,
            more => more.next_multiple_of(cores),
        };
        let chunk = match even(each(pixels / chunk)) {
            most if most <= TASK_PIXELS => most,
            _ => even(each(pixels.div_ceil(chunk))),
        };
        let chunks = pixels.div_ceil(chunk);
        let parts = wanted.div_ceil(chunks).min(self.groups * self.panels);
        (chunk, parts)
    }
}

impl<E: Element> Operands<'_, E> {
    fn run(self, cores: &Cores) {
        let (conv, map) = (self.conv, self.output.map);
        let pixels = map.n * map.height * map.width;
        let (chunk, parts) = conv.split(pixels, cores.count());
        let chunks = pixels.div_ceil(chunk);
        let panels = conv.groups * conv.panels;
        cores.for_each(chunks * parts, |task, _| {
            let (start, part) = (task / parts * chunk, task % parts);
            let first = |part: usize| part * panels / parts;
            let task = Task {
                operands: self,
                pixels: start..pixels.min(start + chunk),
                panels: first(part)..first(part + 1),
                after: first((part + 1) % parts),
            };
            let done = (task.pixels.clone(), task.panels.clone());
            dispatch(conv.level, task);
            self.done(&done.0, done.1);
        });
    }
}

/// Some output pixels times some panels of output channels.
struct Task<'a, E> {
    operands: Operands<'a, E>,
    pixels: Range<usize>,
    panels: Range<usize>,
    /// The panel that follows the last.
    after: usize,
}

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let offsets = Offsets::new(&self.operands, self.pixels.clone());
        for panel in self.panels.clone() {
            // SAFETY: the widths are those this level's weights were packed for.
            unsafe {
                match self.operands.conv.vectors {
                    1 => self.panel::<S, 1>(&offsets, panel),
                    2 => self.panel::<S, 2>(&offsets, panel),
                    _ if S::LANES == 16 => self.panel::<S, 4>(&offsets, panel),
                    _ => unreachable!("narrow vectors have panels of at most two"),
                }
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    /// All pixels times one panel.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&self, offsets: &Offsets, panel: usize) {
        let conv = self.operands.conv;
        let width = V * S::LANES;
        let group = panel / conv.panels;
        let next = if panel + 1 < self.panels.end {
            panel + 1
        } else {
            self.after
        };
        // SAFETY: whole panels of weights lie before this one, a group's
        // channels inside a pixel.
        let panel = unsafe {
            Panel {
                task: self,
                offsets,
                weights: conv.weights.as_ptr().add(panel * conv.window * width),
                next: next.saturating_sub(panel) * conv.window * width,
                from: self
                    .operands
                    .input
                    .data()
                    .as_ptr()
                    .add(group * conv.group_cin),
                outputs: self.operands.outputs(panel),
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

/// A panel of output channels, for all pixels of a task.
struct Panel<'a, E> {
    task: &'a Task<'a, E>,
    offsets: &'a Offsets,
    weights: *const f32,
    /// From these weights to those of the panel that follows; 0 for these.
    next: usize,
    from: *const E,
    outputs: Outputs,
}

impl<E: Element> Panel<'_, E> {
    /// The `P` pixels of a task's tile `i`. The first tiles ask for the next
    /// panel's weights, a line a step, so that they wait in L2.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, i: usize, tile: Range<usize>) {
        let operands = &self.task.operands;
        let start = tile.start;
        // SAFETY: the offsets are those of pixels inside the maps.
        unsafe {
            let mut corners: [*const f32; P] = [self.from.cast(); P];
            for p in 0..P {
                corners[p] = self.from.add(self.offsets.input[start + p]).cast();
            }
            let mut sums = [[S::splat(0.0); V]; P];
            let row = operands.input.map().row() * size_of::<E>();
            let lines = operands.conv.window * S::LANES;
            let ahead = self.next + i.min(V - 1) * lines;
            let weights = (self.weights, self.weights.wrapping_add(ahead));
            multiply::<E, S, P, V>(&corners, &operands.conv.runs, row, weights, &mut sums);
            // The most frequent tile ends in registers. The others go through
            // memory and a loop: unrolled, they would be most of the program.
            if P == PIXELS && self.outputs.valid == V * S::LANES && operands.output.floats.is_none()
            {
                operands.whole(&mut sums, &self.outputs, self.offsets.places(start));
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

    /// The results of one of the task's pixels.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(&self, pixel: usize, sums: [S; V]) {
        let (operands, place) = (&self.task.operands, self.offsets.place(pixel));
        // SAFETY: the offsets are those of pixels inside the maps; no other
        // task of this step has this pixel and this panel.
        unsafe { operands.result(sums, &self.outputs, place) };
    }
}
