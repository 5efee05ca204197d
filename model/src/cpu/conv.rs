//! Direct convolution: an implicit matrix product over NHWC, its pixels read
//! in place, with bias, residual and activation added in registers.
//!
//! ```text
//! y[n, i, j, o] = act(bias[o] + residual[n, i, j, o]
//!     + sum over r, s, c of w[o, c, r, s] * x[n, i * stride + r - padding, j * stride + s - padding, c])
//! ```

use std::ops::Range;

use super::map::{Map, Shared, View, ViewMut};
use super::micro::{self, PIXELS, WIDEST, load, multiply, store};
use super::pack::{Activation, PackedConv};
use super::simd::{Kernel, Simd, dispatch};
use super::winograd::{Layout, Winograd};
use crate::cores::Cores;

/// What is added to a convolution's sums before its activation.
#[derive(Clone, Copy)]
pub enum Residual<'a> {
    /// Nothing.
    None,
    /// A map of the output's size.
    Add(View<'a>),
    /// What the output holds already.
    InPlace,
}

/// Most pixels of a task: their offsets lie on its stack.
const TASK_PIXELS: usize = 64 * PIXELS;

/// Bytes of input that a task walks once for each panel: well inside L2.
const TASK_INPUT: usize = 192 * 1024;

impl PackedConv {
    /// Floats of workspace that [`PackedConv::run`] needs for this output.
    #[must_use]
    pub fn workspace(&self, output: &Map, cores: &Cores) -> usize {
        Layout::new(self, output).map_or(0, |layout| {
            let (shared, own) = layout.workspace(self);
            shared + own * cores.count()
        })
    }

    /// Convolves `input` into `output`'s interior.
    ///
    /// # Panics
    /// When the maps do not fit the convolution: channels, sizes, a border
    /// narrower than the padding; when `workspace` is shorter than
    /// [`PackedConv::workspace`] asks for.
    pub fn run(
        &self,
        cores: &Cores,
        input: View,
        residual: Residual,
        mut output: ViewMut,
        workspace: &mut [f32],
    ) {
        self.check(&input, &residual, output.map());
        let map = *output.map();
        assert!(workspace.len() >= self.workspace(&map, cores), "workspace");
        let to = output.shared();
        let (add, add_map) = match &residual {
            Residual::None => (std::ptr::null(), map),
            Residual::Add(view) => (view.data().as_ptr(), *view.map()),
            Residual::InPlace => (to.start().cast_const(), map),
        };
        let add = (Shared::new(add.cast_mut()), add_map);
        if let Some(layout) = Layout::new(self, &map) {
            let winograd = Winograd {
                conv: self,
                input,
                add,
                output: (to, map),
                layout,
                workspace: Shared::new(workspace.as_mut_ptr()),
            };
            return winograd.run(cores);
        }

        let pixels = map.n * map.height * map.width;
        let (chunk, parts) = self.split(pixels, cores.count());
        let chunks = pixels.div_ceil(chunk);
        let panels = self.groups * self.panels;
        cores.for_each(chunks * parts, |task, _| {
            let (start, part) = (task % chunks * chunk, task / chunks);
            let task = Task {
                conv: self,
                input,
                add,
                output: (to, map),
                pixels: start..pixels.min(start + chunk),
                panels: (part * panels / parts)..((part + 1) * panels / parts),
            };
            dispatch(self.level, task);
        });
    }

    fn check(&self, input: &View, residual: &Residual, output: &Map) {
        let (spec, from) = (&self.spec, input.map());
        let size = |side: usize, kernel: usize| {
            (side + 2 * spec.padding)
                .checked_sub(kernel)
                .map_or(0, |room| room / spec.stride + 1)
        };
        assert!(
            from.channels == spec.cin
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
        }
    }

    /// Pixels of a task, and into how many parts the panels are split: the
    /// first to stay in cache, the second to occupy every core.
    fn split(&self, pixels: usize, cores: usize) -> (usize, usize) {
        let bytes = 4 * self.spec.cin * self.spec.stride * self.spec.stride;
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

/// Some output pixels times some panels of output channels.
struct Task<'a> {
    conv: &'a PackedConv,
    input: View<'a>,
    /// The residual; null when there is none.
    add: (Shared, Map),
    output: (Shared, Map),
    pixels: Range<usize>,
    panels: Range<usize>,
}

/// Where each pixel of a task lies in the three maps.
struct Offsets {
    input: [usize; TASK_PIXELS],
    add: [usize; TASK_PIXELS],
    output: [usize; TASK_PIXELS],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let offsets = self.offsets();
        for panel in self.panels.clone() {
            // SAFETY: the widths are those this level's weights were packed for.
            unsafe {
                match self.conv.vectors {
                    1 => self.panel::<S, 1>(&offsets, panel),
                    2 => self.panel::<S, 2>(&offsets, panel),
                    _ => self.panel::<S, 4>(&offsets, panel),
                }
            }
        }
    }
}

impl Task<'_> {
    fn offsets(&self) -> Offsets {
        let mut offsets = Offsets {
            input: [0; TASK_PIXELS],
            add: [0; TASK_PIXELS],
            output: [0; TASK_PIXELS],
        };
        let map = &self.output.1;
        let (stride, padding) = (self.conv.spec.stride, self.conv.spec.padding as isize);
        let (mut x, rows) = (self.pixels.start % map.width, self.pixels.start / map.width);
        let (mut y, mut n) = (rows % map.height, rows / map.height);
        for i in 0..self.pixels.len() {
            let corner = |at: usize| (at * stride) as isize - padding;
            offsets.input[i] = self.input.map().at(n, corner(y), corner(x));
            offsets.add[i] = self.add.1.at(n, y as isize, x as isize);
            offsets.output[i] = map.at(n, y as isize, x as isize);
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

    /// All pixels times one panel, block by block of its weights.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&self, offsets: &Offsets, panel: usize) {
        let conv = self.conv;
        let width = V * S::LANES;
        let (group, within) = (panel / conv.panels, panel % conv.panels);
        let channel = group * conv.group_cout + within * width;
        let valid = width.min(conv.group_cout - within * width);
        let blocks = &conv.blocks;
        // A partial panel keeps no partial sums: its output is too narrow.
        let whole = [blocks[0], blocks[blocks.len() - 1]];
        let cuts = if valid < width {
            &whole[..]
        } else {
            &blocks[..]
        };
        for cut in cuts.windows(2) {
            let [(first, k), (end, _)] = [cut[0], cut[1]];
            // SAFETY: `k` floats of the window times the panel's width lie
            // before this block; channels before this panel likewise.
            let block = unsafe {
                Block {
                    task: self,
                    offsets,
                    runs: &conv.runs[first..end],
                    weights: conv
                        .weights
                        .as_ptr()
                        .add((panel * conv.window() + k) * width),
                    bias: conv.bias.as_ptr().add(panel * width),
                    from: self.input.data().as_ptr().add(group * conv.group_cin),
                    channel,
                    valid,
                    first: first == 0,
                    last: end == conv.runs.len(),
                }
            };
            for tile in micro::tiles(self.pixels.len()) {
                let start = tile.start;
                // SAFETY: as above; a tile has 1 to 6 of the task's pixels.
                unsafe {
                    match tile.len() {
                        6 => block.tile::<S, 6, V>(start),
                        5 => block.tile::<S, 5, V>(start),
                        4 => block.tile::<S, 4, V>(start),
                        3 => block.tile::<S, 3, V>(start),
                        2 => block.tile::<S, 2, V>(start),
                        _ => block.tile::<S, 1, V>(start),
                    }
                }
            }
        }
    }
}

/// A panel's weights of some runs, for all pixels of a task.
struct Block<'a> {
    task: &'a Task<'a>,
    offsets: &'a Offsets,
    runs: &'a [micro::Run],
    weights: *const f32,
    bias: *const f32,
    from: *const f32,
    channel: usize,
    valid: usize,
    first: bool,
    last: bool,
}

impl Block<'_> {
    /// `P` pixels from `start` on: sums begin with bias and residual, or with
    /// what the block before left in the output.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, start: usize) {
        // SAFETY: the offsets are those of pixels inside the maps; `channel`
        // and `valid` stay inside a pixel; no other task of this step has
        // these pixels and this panel.
        unsafe {
            let mut corners = [self.from; P];
            let mut out = [self.task.output.0.start(); P];
            for p in 0..P {
                corners[p] = self.from.add(self.offsets.input[start + p]);
                out[p] = out[p].add(self.offsets.output[start + p] + self.channel);
            }
            let mut sums = [[S::splat(0.0); V]; P];
            if self.first {
                self.begin(start, &mut sums);
            } else {
                load(&out, &mut sums);
            }
            let row = self.task.input.map().row();
            multiply(&corners, self.runs, row, self.weights, &mut sums);
            if self.last && self.task.conv.activation == Activation::Relu {
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = sums[p][v].max(S::splat(0.0));
                    }
                }
            }
            if self.valid == V * S::LANES {
                store(&sums, &out);
            } else {
                let mut whole = [0.0; PIXELS * WIDEST];
                let rows = std::array::from_fn(|p| whole.as_mut_ptr().add(p * WIDEST));
                store(&sums, &rows);
                for p in 0..P {
                    std::ptr::copy_nonoverlapping(rows[p], out[p], self.valid);
                }
            }
        }
    }

    /// Bias, and residual if there is one.
    #[inline(always)]
    unsafe fn begin<S: Simd, const P: usize, const V: usize>(
        &self,
        start: usize,
        sums: &mut [[S; V]; P],
    ) {
        // SAFETY: as in `tile`; the bias is padded to whole panels.
        unsafe {
            let add = self.task.add.0.start();
            if !add.is_null() {
                let mut from = [add; P];
                for p in 0..P {
                    from[p] = add.add(self.offsets.add[start + p] + self.channel);
                }
                if self.valid == V * S::LANES {
                    load(&from, sums);
                } else {
                    let mut whole = [0.0; PIXELS * WIDEST];
                    let rows = std::array::from_fn(|p| whole.as_mut_ptr().add(p * WIDEST));
                    for p in 0..P {
                        std::ptr::copy_nonoverlapping(from[p], rows[p], self.valid);
                    }
                    load(&rows, sums);
                }
            }
            for v in 0..V {
                let bias = S::load(self.bias.add(v * S::LANES));
                for p in 0..P {
                    sums[p][v] = sums[p][v].add(bias);
                }
            }
        }
    }
}
