//! Direct convolution: an implicit matrix product over NHWC, its pixels read
//! in place, with bias, residual, activation and rounding in registers.
//!
//! ```text
//! y[n, i, j, o] = act(bias[o] + residual[n, i, j, o]
//!     + sum over r, s, c of w[o, c, r, s] * x[n, i * stride + r - padding, j * stride + s - padding, c])
//! ```

use std::ops::Range;

use super::element::Element;
use super::level::{Kernel, dispatch};
use super::map::{Map, Shared, View, ViewMut};
use super::micro::{self, PIXELS, WIDEST, multiply, store};
use super::pack::{Activation, PackedConv};
use super::simd::Simd;
use super::winograd::{Layout, Winograd};
use crate::cores::Cores;

/// What is added to a convolution's sums before its activation.
#[derive(Clone, Copy)]
pub(crate) enum Residual<'a, E> {
    /// Nothing.
    None,
    /// A map of the output's size.
    Add(View<'a, E>),
    /// What the output holds already.
    InPlace,
}

/// Where a convolution's results go.
pub(crate) enum Output<'a, E> {
    /// A map of the input's numbers.
    Same(ViewMut<'a, E>),
    /// A map of floats: the logits.
    Floats(ViewMut<'a, f32>),
}

/// Most pixels of a task: their offsets lie on its stack.
const TASK_PIXELS: usize = 64 * PIXELS;

/// Bytes of input that a task walks once for each panel: well inside L2.
const TASK_INPUT: usize = 192 * 1024;

impl PackedConv {
    /// Words of workspace that [`PackedConv::run`] needs for this output.
    #[must_use]
    pub(crate) fn workspace(&self, output: &Map, cores: &Cores) -> usize {
        Layout::new(self, output).map_or(0, |layout| {
            let (shared, own) = layout.workspace(self);
            shared + own * cores.count()
        })
    }

    /// Convolves `input` into `output`'s interior.
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
        mut output: Output<E>,
        workspace: &mut [f32],
    ) {
        let target = Target::new(&mut output);
        let map = target.map;
        self.check(&input, &residual, &map);
        assert!(workspace.len() >= self.workspace(&map, cores), "workspace");
        let operands = Operands {
            conv: self,
            input,
            add: match residual {
                Residual::None => None,
                Residual::Add(view) => {
                    Some((Shared::new(view.data().as_ptr().cast_mut()), *view.map()))
                }
                Residual::InPlace => Some((target.start, map)),
            },
            output: target,
            workspace: Shared::new(workspace.as_mut_ptr()),
        };
        match Layout::new(self, &map) {
            Some(layout) => Winograd { operands, layout }.run(cores),
            None => operands.run(cores),
        }
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
        let chunks = pixels.div_ceil(chunk);
        let parts = wanted.div_ceil(chunks).min(self.groups * self.panels);
        (chunk, parts)
    }
}

/// The map that results are written to.
#[derive(Clone, Copy)]
pub(crate) struct Target<E> {
    start: Shared<E>,
    /// The same address, where it holds floats whatever the input's numbers.
    floats: Option<Shared>,
    pub(crate) map: Map,
}

impl<E: Element> Target<E> {
    fn new(output: &mut Output<E>) -> Self {
        match output {
            Output::Same(view) => Self {
                start: view.shared(),
                floats: None,
                map: *view.map(),
            },
            Output::Floats(view) => Self {
                start: Shared::new(view.shared().start().cast()),
                floats: Some(view.shared()),
                map: *view.map(),
            },
        }
    }
}

/// What a convolution reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, E> {
    pub(crate) conv: &'a PackedConv,
    pub(crate) input: View<'a, E>,
    /// The residual.
    pub(crate) add: Option<(Shared<E>, Map)>,
    pub(crate) output: Target<E>,
    /// As many words as the convolution asked for.
    pub(crate) workspace: Shared,
}

impl<E: Element> Operands<'_, E> {
    fn run(self, cores: &Cores) {
        let (conv, map) = (self.conv, self.output.map);
        let pixels = map.n * map.height * map.width;
        let (chunk, parts) = conv.split(pixels, cores.count());
        let chunks = pixels.div_ceil(chunk);
        let panels = conv.groups * conv.panels;
        cores.for_each(chunks * parts, |task, _| {
            let (start, part) = (task % chunks * chunk, task / chunks);
            let task = Task {
                operands: self,
                pixels: start..pixels.min(start + chunk),
                panels: (part * panels / parts)..((part + 1) * panels / parts),
            };
            dispatch(conv.level, task);
        });
    }

    /// Where pixel (`y`, `x`) of image `n` lies in the residual (0 without one)
    /// and in the output.
    pub(crate) fn at(&self, n: usize, y: usize, x: usize) -> (usize, usize) {
        let (y, x) = (y as isize, x as isize);
        let add = self.add.map_or(0, |(_, map)| map.at(n, y, x));
        (add, self.output.map.at(n, y, x))
    }

    /// A pixel's result from the floats of a panel's sums, the bias among
    /// them: residual, activation, rounding. `channel` is the panel's first,
    /// `valid` of them exist.
    ///
    /// # Safety
    /// `add` and `out` are where [`Operands::at`] says, and no other task has
    /// this pixel and this panel; `S`'s instructions exist.
    #[inline(always)]
    pub(crate) unsafe fn finish<S: Simd, const V: usize>(
        &self,
        sums: [S; V],
        (add, out): (usize, usize),
        (channel, valid): (usize, usize),
    ) {
        let mut sums = sums;
        // SAFETY: the caller's; a panel that is cut short goes through a
        // buffer that is as wide as the widest.
        unsafe {
            let whole = valid == V * S::LANES;
            let mut buffer = [0f32; WIDEST];
            if let Some((start, _)) = self.add {
                let mut from = start.start().cast_const().add(add + channel);
                if !whole {
                    std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr().cast(), valid);
                    from = buffer.as_ptr().cast();
                }
                for v in 0..V {
                    sums[v] = E::add(sums[v], from.add(v * S::LANES), self.conv.residual);
                }
            }
            if self.conv.activation == Activation::Relu {
                for sum in &mut sums {
                    *sum = sum.max(S::splat(self.conv.floor));
                }
            }
            match self.output.floats {
                Some(floats) => {
                    let out = floats.start().add(out + channel);
                    put::<f32, S, V>(sums, out, valid);
                }
                None => {
                    let out = self.output.start.start().add(out + channel);
                    put::<E, S, V>(sums, out, valid);
                }
            }
        }
    }
}

/// Stores the first `valid` of a panel's results.
#[inline(always)]
unsafe fn put<E: Element, S: Simd, const V: usize>(sums: [S; V], out: *mut E, valid: usize) {
    // SAFETY: the caller's `out` has room for `valid` numbers, the buffer for
    // all of a panel's.
    unsafe {
        let mut buffer = [0f32; WIDEST];
        let whole = valid == V * S::LANES;
        let to = if whole {
            out
        } else {
            buffer.as_mut_ptr().cast()
        };
        for v in 0..V {
            E::put(sums[v], to.add(v * S::LANES));
        }
        if !whole {
            std::ptr::copy_nonoverlapping(to.cast_const(), out, valid);
        }
    }
}

/// Some output pixels times some panels of output channels.
struct Task<'a, E> {
    operands: Operands<'a, E>,
    pixels: Range<usize>,
    panels: Range<usize>,
}

/// Where each pixel of a task lies in the three maps.
struct Offsets {
    input: [usize; TASK_PIXELS],
    add: [usize; TASK_PIXELS],
    output: [usize; TASK_PIXELS],
}

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let offsets = self.offsets();
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
    fn offsets(&self) -> Offsets {
        let mut offsets = Offsets {
            input: [0; TASK_PIXELS],
            add: [0; TASK_PIXELS],
            output: [0; TASK_PIXELS],
        };
        let operands = &self.operands;
        let (spec, map) = (&operands.conv.spec, &operands.output.map);
        let (stride, padding) = (spec.stride, spec.padding as isize);
        let (mut x, rows) = (self.pixels.start % map.width, self.pixels.start / map.width);
        let (mut y, mut n) = (rows % map.height, rows / map.height);
        for i in 0..self.pixels.len() {
            let corner = |at: usize| (at * stride) as isize - padding;
            offsets.input[i] = operands.input.map().at(n, corner(y), corner(x));
            (offsets.add[i], offsets.output[i]) = operands.at(n, y, x);
            x += 1;
            if x == map.width {
                (x, y) = (0, y + 1);
                if y == map.height {
                    (y, n) = (0, n + 1);
                }
            }
        }
        offsets
    }

    /// All pixels times one panel.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&self, offsets: &Offsets, panel: usize) {
        let conv = self.operands.conv;
        let width = V * S::LANES;
        let (group, within) = (panel / conv.panels, panel % conv.panels);
        // SAFETY: whole panels lie before this one in weights, bias and scale
        // (which is empty, and not read, for floats); a group's channels
        // inside a pixel.
        let panel = unsafe {
            Panel {
                task: self,
                offsets,
                weights: conv.weights.as_ptr().add(panel * conv.window() * width),
                next: if panel + 1 < self.panels.end {
                    conv.window() * width
                } else {
                    0
                },
                bias: conv.bias.as_ptr().add(panel * width),
                scale: conv.scale.as_ptr().wrapping_add(panel * width),
                from: self
                    .operands
                    .input
                    .data()
                    .as_ptr()
                    .add(group * conv.group_cin),
                channel: group * conv.group_cout + within * width,
                valid: width.min(conv.group_cout - within * width),
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
    /// From these weights to those of the panel that follows; 0 for none.
    next: usize,
    bias: *const f32,
    scale: *const f32,
    from: *const E,
    channel: usize,
    valid: usize,
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
            let ahead = self.next + i.min(V - 1) * (self.next / V);
            let weights = (self.weights, self.weights.wrapping_add(ahead));
            multiply::<E, S, P, V>(&corners, &operands.conv.runs, row, weights, &mut sums);
            // The most frequent tile ends in registers. The others go through
            // memory and a loop: unrolled, they would be most of the program.
            if P == PIXELS && self.valid == V * S::LANES && operands.output.floats.is_none() {
                for p in 0..P {
                    self.finish(start + p, sums[p]);
                }
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
    unsafe fn finish<S: Simd, const V: usize>(&self, pixel: usize, mut sums: [S; V]) {
        let place = (self.offsets.add[pixel], self.offsets.output[pixel]);
        // SAFETY: the offsets are those of pixels inside the maps; `channel`
        // and `valid` stay inside a pixel; no other task of this step has this
        // pixel and this panel.
        unsafe {
            for v in 0..V {
                let at = v * S::LANES;
                let scale = self.scale.wrapping_add(at);
                sums[v] = E::result(sums[v], scale, self.bias.add(at));
            }
            self.task
                .operands
                .finish(sums, place, (self.channel, self.valid));
        }
    }
}
