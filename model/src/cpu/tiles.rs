//! Convolutions of bf16 and bytes on tiles: the implicit matrix product of
//! `conv`, in blocks of 32 pixels times the 32 output channels of a panel.
//!
//! ```text
//! for panel { for block of 32 pixels { sums = 0; for step of the window {   // 64 bytes of channels
//!     sums[32][32] += pixels[32][step] * weights[step][32]                  // 4 products, 64 cycles
//! }}}
//! ```
//!
//! What is where (48 KiB of L1, 2 MiB of L2, Sapphire Rapids; reckoned, not
//! measured). A step's four products take 64 cycles; its 32 lines of pixels and
//! 32 of weights come from L1 in 32 cycles, from L2 in about 85. So one of the
//! two has to come from L1, and does in nearly every layer: a panel's weights
//! where a window is up to 12 steps (24 KiB: 1x1 up to 384 channels of bf16), the
//! pixels where it is 3x3, by the order of its steps (`order`). Only 1x1 of more
//! channels reads both from L2, a quarter slower. Cutting their steps into
//! chunks with the sums in memory between would gain less: 128 lines of sums
//! come and go for the 12 steps whose weights stay in L1.
//! A panel (288 KiB of 3x3 x 512 bf16) and a task's input stay in L2 while the
//! task's blocks go by; weights are asked for ahead, since with few pixels they
//! come from memory.

mod pass;

use std::ops::Range;

use super::amx::{Bf16, Int8, Product, ROW, ROWS, Tiles};
use super::element::Element;
use super::level::{Kernel, dispatch_tiles};
use super::micro::prefetch;
use super::operands::{Offsets, Operands, Outputs, TASK_PIXELS};
use super::simd::Simd;
use crate::cores::Cores;
use pass::{Pass, Tile};

pub(crate) use pass::workspace;

/// Words of a step.
const STEP: usize = ROW / 4;

/// Bytes of input that a task walks once for each panel: a quarter of L2.
const TASK_INPUT: usize = 512 * 1024;

/// Fewest pixels of a task, where there are as many: two blocks, so that the
/// weights of the second are in L1.
const LEAST: usize = 4 * ROWS;

/// Steps between the weights that are multiplied and those that are asked for:
/// 256 cycles.
const AHEAD: usize = 4;

/// Convolves, on tiles.
pub(crate) fn run<E: Element>(operands: Operands<E>, cores: &Cores) {
    let (conv, map) = (operands.conv, operands.output.map);
    let pixels = map.n * map.height * map.width;
    let (chunk, parts) = split(&operands, pixels, cores.count());
    let chunks = pixels.div_ceil(chunk);
    let panels = conv.groups * conv.panels;
    cores.for_each(chunks * parts, |task, worker| {
        let (start, part) = (task / parts * chunk, task % parts);
        let task = Task {
            operands,
            pixels: start..pixels.min(start + chunk),
            panels: (part * panels / parts)..((part + 1) * panels / parts),
            worker,
        };
        let done = (task.pixels.clone(), task.panels.clone());
        dispatch_tiles(conv.level, task);
        operands.done(&done.0, done.1);
    });
}

/// Pixels of a task, and into how many parts the panels are split. Panels are
/// split first: every chunk of pixels reads all of its panels' weights, which
/// are most of what is read where maps are small.
fn split<E: Element>(operands: &Operands<E>, pixels: usize, cores: usize) -> (usize, usize) {
    let (conv, map, from) = (operands.conv, operands.output.map, operands.input.map());
    let spec = &conv.spec;
    let panels = conv.groups * conv.panels;
    let wanted = 4 * cores;
    let bytes = 4 * spec.cin * spec.stride * spec.stride / conv.per_word;
    let most = (TASK_INPUT / bytes.max(1)).clamp(LEAST, TASK_PIXELS);
    // Whole blocks; of short rows with borders between them, which are tiles
    // of their own or two to a tile, whole rows or images.
    let unit = match map.height * map.width {
        image if from.border == 0 || map.width >= ROWS => 2 * ROWS.min(image * map.n),
        image if image <= LEAST => image,
        _ => 4 * map.width,
    };
    let chunks = pixels.div_ceil(most).max(wanted.div_ceil(panels));
    let chunk = pixels.div_ceil(chunks).max(LEAST.min(pixels));
    let chunk = chunk.next_multiple_of(unit).min(TASK_PIXELS / unit * unit);
    let parts = wanted.div_ceil(pixels.div_ceil(chunk)).min(panels);
    (chunk, parts)
}

/// Some output pixels times some panels of output channels.
struct Task<'a, E> {
    operands: Operands<'a, E>,
    pixels: Range<usize>,
    panels: Range<usize>,
    worker: usize,
}

/// A block's sums, f32 or i32: 32 pixels of as many channels as it has.
#[repr(align(64))]
struct Sums([f32; 2 * ROWS * 2 * ROWS]);

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's; the level has tiles.
        unsafe {
            match E::PER_WORD {
                2 => self.passes::<S, Bf16>(),
                4 => self.passes::<S, Int8>(),
                _ => unreachable!("f32 is never tiled"),
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    #[inline(always)]
    unsafe fn passes<S: Simd, D: Product>(&self) {
        debug_assert_eq!(E::PER_WORD, D::CHANNELS);
        let conv = self.operands.conv;
        let offsets = Offsets::new(&self.operands, self.pixels.clone());
        let (mut pass, mut sums) = (Pass::EMPTY, Sums([0.0; _]));
        // SAFETY: the level has tiles, and a thread runs one task at a time.
        let mut tiles = unsafe { Tiles::configure() };
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let group = panel / conv.panels;
            let end = self.panels.end.min((group + 1) * conv.panels);
            let mut pixel = 0;
            while pixel < self.pixels.len() {
                pixel = self.fill(&mut pass, pixel, &offsets, group, end - panel);
                for panel in panel..end {
                    // SAFETY: the pass is of the panel's group.
                    unsafe { self.panel::<S, D>(&mut tiles, &pass, panel, &offsets, &mut sums) };
                }
            }
            panel = end;
        }
    }

    /// The tiles of a pass times one panel, two by two.
    #[inline(always)]
    unsafe fn panel<S: Simd, D: Product>(
        &self,
        tiles: &mut Tiles,
        pass: &Pass,
        panel: usize,
        offsets: &Offsets,
        sums: &mut Sums,
    ) {
        let outputs = self.operands.outputs(panel);
        let narrow = outputs.valid <= S::LANES;
        for pair in pass.tiles().chunks(2) {
            // SAFETY: the tiles are of the panel's group; what there is of a
            // panel's second vector, its weights have.
            unsafe {
                match (pair, narrow) {
                    (&[a, b], false) => self.multiply::<D, 2, 2>(tiles, [a, b], panel, sums),
                    (&[a, b], true) => self.multiply::<D, 2, 1>(tiles, [a, b], panel, sums),
                    (&[a], false) => self.multiply::<D, 1, 2>(tiles, [a], panel, sums),
                    (&[a], true) => self.multiply::<D, 1, 1>(tiles, [a], panel, sums),
                    _ => {}
                }
                if narrow {
                    self.finish::<S, 1>(pair, pass, offsets, &outputs, sums);
                } else {
                    self.finish::<S, 2>(pair, pass, offsets, &outputs, sums);
                }
            }
        }
    }

    /// The sums of a block.
    #[inline(always)]
    unsafe fn multiply<D: Product, const PT: usize, const VT: usize>(
        &self,
        tiles: &mut Tiles,
        pair: [Tile; PT],
        panel: usize,
        sums: &mut Sums,
    ) {
        let conv = self.operands.conv;
        let row = self.operands.input.map().row() * size_of::<E>();
        let width = conv.panel();
        let strides = pair.map(|tile| tile.stride);
        let mut block = tiles.block::<D, PT, VT>();
        block.zero();
        // SAFETY: whole panels of weights lie before this one; a tile's rows
        // are readable for the window's runs, in place or in one piece; the
        // sums are a block's, the largest.
        unsafe {
            let mut weights = conv.weights.as_ptr().add(panel * conv.window * width);
            let mut words = 0;
            for run in &conv.runs {
                let place = run.row * row + run.start * 4;
                let mut pixels = pair.map(|tile| {
                    let place = if tile.gathered { words * 4 } else { place };
                    debug_assert!(tile.gathered || self.has(&tile, place + run.len * 4));
                    tile.from.add(place)
                });
                for _ in 0..run.len / STEP {
                    let from = std::array::from_fn(|v| weights.add(v * ROWS).cast());
                    block.multiply(&pixels, &strides, &from, width * 4, 1);
                    // the last addresses may lie behind the weights
                    weights = weights.wrapping_add(STEP * width);
                    pixels = pixels.map(|from| from.wrapping_add(ROW));
                    for line in 0..STEP * VT {
                        prefetch(weights.wrapping_add(AHEAD * STEP * width + line * (ROW / 4)));
                    }
                }
                words += run.len;
            }
            let to = sums.0.as_mut_ptr();
            let to = std::array::from_fn(|p| to.add(p * ROWS * VT * ROWS).cast());
            block.store(&to, VT * ROW);
        }
    }

    /// Whether the map has so many bytes behind every row's start.
    fn has(&self, tile: &Tile, bytes: usize) -> bool {
        let map = self.operands.input.data().as_ptr_range();
        let end = tile.from.wrapping_add((ROWS - 1) * tile.stride + bytes);
        map.start.cast() <= tile.from && end <= map.end.cast()
    }

    /// The results of a block's pixels.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(
        &self,
        pair: &[Tile],
        pass: &Pass,
        offsets: &Offsets,
        outputs: &Outputs,
        sums: &Sums,
    ) {
        assert_eq!(S::LANES, ROWS, "a tile's sums are a vector wide");
        for (tile, sums) in pair.iter().zip(sums.0.chunks_exact(ROWS * V * ROWS)) {
            for pixel in tile.first..tile.first + tile.pixels {
                let row = &sums[usize::from(pass.rows[pixel]) * V * ROWS..][..V * ROWS];
                // SAFETY: the row has `V` vectors; the offsets are those of
                // pixels inside the maps, and no other task of this step has
                // this pixel and this panel.
                unsafe {
                    let mut sums = [S::splat(0.0); V];
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(row.as_ptr().add(v * S::LANES));
                    }
                    self.operands.result(sums, outputs, offsets.place(pixel));
                }
            }
        }
    }
}
