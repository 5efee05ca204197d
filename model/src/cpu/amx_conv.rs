//! bf16 and int8 convolutions on AMX tiles: the implicit GEMM of `conv`, in
//! blocks of 32 pixels times the 32 output channels of a panel.
//!
//! ```text
//! for panel { for block of 32 pixels { sums = 0; for step of the window {   // 64 bytes of channels
//!     sums[32][32] += pixels[32][step] * weights[step][32]                  // 4 products, 64 cycles
//! }}}
//! ```
//!
//! Cache blocking (estimated for Sapphire Rapids with 48 KiB of L1 and 2 MiB of
//! L2, not measured):
//!
//! - The four products of a step take 64 cycles. Loading its 32 cache lines of
//!   pixels and 32 of weights takes 32 cycles from L1 and about 85 from L2, so
//!   one of the two must come from L1.
//! - That holds for nearly every layer. The weights of a panel fit in L1 if K
//!   is at most 12 steps (24 KiB: 1x1 with up to 384 bf16 channels). For 3x3
//!   kernels the pixels come from L1, because of the order of the steps
//!   (`weight_order`).
//! - Only 1x1 convolutions with more channels read both from L2 and are a
//!   quarter slower. Splitting their K and keeping partial sums in memory would
//!   be slower still: 128 cache lines of sums would be loaded and stored for
//!   every 12 steps.
//! - A panel (288 KiB for 3x3 x 512 bf16) and the input of a task stay in L2
//!   for all blocks of the task. Weights are prefetched, because with few
//!   pixels they come from memory.

mod pass;

use super::amx::{Bf16, DotProduct, Int8, ROW_BYTES, ROWS, Tiles};
use super::conv_args::{ConvArgs, PanelChannels, PixelOffsets, TASK_PIXELS};
use super::element::Element;
use super::isa::{Kernel, dispatch_tiles};
use super::micro::prefetch;
use super::simd::Simd;
use crate::threads::ThreadPool;
use pass::{Pass, PixelTile, STEP_WORDS, Task};

pub(crate) use pass::workspace;

/// The most input bytes of a task, which reads them once per panel: a quarter of
/// L2.
const TASK_INPUT: usize = 512 * 1024;

/// The fewest pixels of a task, if the batch has as many: two blocks, so that
/// the second block reads the weights from L1.
const MIN_PIXELS: usize = 4 * ROWS;

/// Prefetch distance of the weights, in steps: 256 cycles.
const AHEAD: usize = 4;

/// Computes a convolution on AMX tiles.
pub(crate) fn run<E: Element>(args: ConvArgs<E>, threads: &ThreadPool) {
    let (conv, map) = (args.conv, args.output.map);
    let pixels = map.n * map.height * map.width;
    let (chunk, parts) = split(&args, pixels, threads.count());
    let chunks = pixels.div_ceil(chunk);
    let panels = conv.groups * conv.panels;
    threads.for_each(chunks * parts, |task, worker| {
        let (start, part) = (task / parts * chunk, task % parts);
        let task = Task {
            args,
            pixels: start..pixels.min(start + chunk),
            panels: (part * panels / parts)..((part + 1) * panels / parts),
            worker,
        };
        let (pixels, panels) = (task.pixels.clone(), task.panels.clone());
        dispatch_tiles(conv.isa, task);
        args.notify_pool(&pixels, panels);
    });
}

/// Pixels of a task, and the number of parts that the panels are split into.
/// Splitting panels is preferred: every chunk of pixels reads all weights of
/// its panels, and weights are most of the traffic for small feature maps.
fn split<E: Element>(args: &ConvArgs<E>, pixels: usize, threads: usize) -> (usize, usize) {
    let (conv, map, from) = (args.conv, args.output.map, args.input.map());
    let spec = &conv.spec;
    let panels = conv.groups * conv.panels;
    let min_tasks = 4 * threads;
    let bytes = 4 * spec.cin * spec.stride * spec.stride / conv.per_word;
    let most = (TASK_INPUT / bytes.max(1)).clamp(MIN_PIXELS, TASK_PIXELS);
    // Whole blocks. Short rows separated by borders fill one tile each, or
    // share a tile in pairs, so they are split into whole rows or images.
    let unit = match map.height * map.width {
        image if from.border == 0 || map.width >= ROWS => 2 * ROWS.min(image * map.n),
        image if image <= MIN_PIXELS => image,
        _ => 4 * map.width,
    };
    let chunks = pixels.div_ceil(most).max(min_tasks.div_ceil(panels));
    let chunk = pixels.div_ceil(chunks).max(MIN_PIXELS.min(pixels));
    let chunk = chunk.next_multiple_of(unit).min(TASK_PIXELS / unit * unit);
    let parts = min_tasks.div_ceil(pixels.div_ceil(chunk)).min(panels);
    (chunk, parts)
}

/// The sums of a block, f32 or i32: up to 32 pixels of 16 or 32 channels.
#[repr(align(64))]
struct Sums([f32; 2 * ROWS * 2 * ROWS]);

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: guaranteed by the caller; the CPU has AMX.
        unsafe {
            match E::PER_WORD {
                2 => self.passes::<S, Bf16>(),
                4 => self.passes::<S, Int8>(),
                _ => unreachable!("AMX has no f32 products"),
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    #[inline(always)]
    unsafe fn passes<S: Simd, D: DotProduct>(&self) {
        debug_assert_eq!(E::PER_WORD, D::CHANNELS);
        let conv = self.args.conv;
        let offsets = PixelOffsets::new(&self.args, self.pixels.clone());
        let (mut pass, mut sums) = (Pass::EMPTY, Sums([0.0; _]));
        // SAFETY: the CPU has AMX, and a thread runs one task at a time.
        let mut tiles = unsafe { Tiles::configure() };
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let group = panel / conv.panels;
            let end = self.panels.end.min((group + 1) * conv.panels);
            let mut pixel = 0;
            while pixel < self.pixels.len() {
                pixel = self.fill_pass(&mut pass, pixel, &offsets, group, end - panel);
                for panel in panel..end {
                    // SAFETY: the pass is that of the panel's group.
                    unsafe { self.panel::<S, D>(&mut tiles, &pass, panel, &offsets, &mut sums) };
                }
            }
            panel = end;
        }
    }

    /// Multiplies the tiles of a pass by one panel, two tiles at a time.
    #[inline(always)]
    unsafe fn panel<S: Simd, D: DotProduct>(
        &self,
        tiles: &mut Tiles,
        pass: &Pass,
        panel: usize,
        offsets: &PixelOffsets,
        sums: &mut Sums,
    ) {
        let channels = self.args.channels(panel);
        let narrow = channels.valid <= S::LANES;
        for pair in pass.tiles().chunks(2) {
            // SAFETY: the tiles are those of the panel's group; the weights
            // include a second vector if the panel has one.
            unsafe {
                match (pair, narrow) {
                    (&[a, b], false) => self.multiply::<D, 2, 2>(tiles, [a, b], panel, sums),
                    (&[a, b], true) => self.multiply::<D, 2, 1>(tiles, [a, b], panel, sums),
                    (&[a], false) => self.multiply::<D, 1, 2>(tiles, [a], panel, sums),
                    (&[a], true) => self.multiply::<D, 1, 1>(tiles, [a], panel, sums),
                    _ => {}
                }
                if narrow {
                    self.finish::<S, 1>(pair, pass, offsets, &channels, sums);
                } else {
                    self.finish::<S, 2>(pair, pass, offsets, &channels, sums);
                }
            }
        }
    }

    /// Computes the sums of a block of pixel tiles times one panel.
    #[inline(always)]
    unsafe fn multiply<D: DotProduct, const PT: usize, const VT: usize>(
        &self,
        tiles: &mut Tiles,
        pair: [PixelTile; PT],
        panel: usize,
        sums: &mut Sums,
    ) {
        let conv = self.args.conv;
        let row = self.args.input.map().row_stride() * size_of::<E>();
        let width = conv.panel();
        let strides = pair.map(|tile| tile.stride);
        let mut block = tiles.block::<D, PT, VT>();
        block.zero();
        // SAFETY: the weights contain all panels up to this one. The rows of a
        // tile are readable for all runs, in place or as copies. `sums` has
        // room for the largest block.
        unsafe {
            let mut weights = conv.weights.as_ptr().add(panel * conv.k_words * width);
            let mut words = 0;
            for run in &conv.runs {
                let in_place = run.row * row + run.start * 4;
                let mut pixels = pair.map(|tile| {
                    let offset = if tile.copied { words * 4 } else { in_place };
                    debug_assert!(tile.copied || self.is_inside(&tile, offset + run.len * 4));
                    tile.from.add(offset)
                });
                for _ in 0..run.len / STEP_WORDS {
                    let from = std::array::from_fn(|v| weights.add(v * ROWS).cast());
                    block.multiply(&pixels, &strides, &from, width * 4, 1);
                    // the last step may move the pointer past the weights
                    weights = weights.wrapping_add(STEP_WORDS * width);
                    pixels = pixels.map(|from| from.wrapping_add(ROW_BYTES));
                    for line in 0..STEP_WORDS * VT {
                        prefetch(
                            weights
                                .wrapping_add(AHEAD * STEP_WORDS * width + line * (ROW_BYTES / 4)),
                        );
                    }
                }
                words += run.len;
            }
            let to = sums.0.as_mut_ptr();
            let to = std::array::from_fn(|p| to.add(p * ROWS * VT * ROWS).cast());
            block.store(&to, VT * ROW_BYTES);
        }
    }

    /// Whether `bytes` bytes from the start of every row of the tile are inside
    /// the input.
    fn is_inside(&self, tile: &PixelTile, bytes: usize) -> bool {
        let map = self.args.input.data().as_ptr_range();
        let end = tile.from.wrapping_add((ROWS - 1) * tile.stride + bytes);
        map.start.cast() <= tile.from && end <= map.end.cast()
    }

    /// Runs the epilogue on the pixels of a block.
    #[inline(always)]
    unsafe fn finish<S: Simd, const V: usize>(
        &self,
        pair: &[PixelTile],
        pass: &Pass,
        offsets: &PixelOffsets,
        channels: &PanelChannels,
        sums: &Sums,
    ) {
        assert_eq!(S::LANES, ROWS, "a row of a tile's sums is one vector");
        for (tile, sums) in pair.iter().zip(sums.0.chunks_exact(ROWS * V * ROWS)) {
            for pixel in tile.first..tile.first + tile.pixels {
                let row = &sums[usize::from(pass.rows[pixel]) * V * ROWS..][..V * ROWS];
                // SAFETY: the row has `V` vectors; the offsets are those of
                // pixels inside the feature maps; no other task of this step
                // writes this pixel of this panel.
                unsafe {
                    let mut sums = [S::splat(0.0); V];
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(row.as_ptr().add(v * S::LANES));
                    }
                    self.args.store_sums(sums, channels, offsets.stores(pixel));
                }
            }
        }
    }
}
