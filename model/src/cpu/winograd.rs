//! 3x3 convolutions of stride 1 by the Winograd algorithm F(4x4, 3x3): input
//! tiles and weights are transformed, multiplied as 36 GEMMs, and the products
//! transformed back.
//!
//! ```text
//! V[p, t, c] = input transform of tile t        U[p, c, o] = weight transform
//! M[p, t, o] = sum over c of V[p, t, c] * U[p, c, o]
//! y[tile t, o] = act(bias[o] + residual + output transform of M[.., t, o])
//! ```
//!
//! A task computes a block of tiles for a group of output channel panels. It
//! shares no intermediate results with other tasks, because reading from
//! another core's cache may be slow.
//!
//! Transformed weights are four times the size of the packed ones. For layers
//! with few channels they are computed once, at load. For the others they would
//! be read from memory, so each task computes them in cache from the packed
//! weights.

mod gemm;
pub(super) mod tile_layout;
mod transform;

use std::marker::PhantomData;
use std::ops::Range;

use super::conv_args::ConvArgs;
use super::element::Element;
use super::feature_map::SendPtr;
use super::isa::{Kernel, dispatch};
use super::memory::AlignedBuffer;
use super::pack::PackedConv;
use super::simd::Simd;
use crate::threads::ThreadPool;
use gemm::{Planes, multiply_points};
use tile_layout::TileLayout;
use transform::{INPUT_TILE, OUTPUT_TILE, POINTS};

/// The most input channels of a layer whose transformed weights are
/// precomputed. Those of a whole network stay below 10 MB, and reading them
/// takes less time than computing them.
const PRECOMPUTED_CHANNELS: usize = 128;

impl PackedConv {
    /// Whether Winograd applies. It does not apply to u8, whose transformed values
    /// do not fit in a byte. It does not apply with AMX either: the products of the
    /// direct convolution take less time there than the transforms.
    pub(super) fn winograd_applies(&self) -> bool {
        let (spec, lanes) = (&self.spec, self.isa.lanes());
        self.per_word < 4
            && !self.tiled()
            && spec.kernel == (3, 3)
            && (spec.stride, spec.padding, spec.groups) == (1, 1, 1)
            && spec.cin.is_multiple_of(lanes)
            && spec.cout.is_multiple_of(lanes)
    }

    /// Precomputes the transformed weights of a layer with few channels.
    pub(super) fn precompute_transformed<E: Element>(&mut self) {
        if self.winograd_applies() && self.spec.cin <= PRECOMPUTED_CHANNELS {
            let len = Planes::len(self.words(), self.panel());
            let mut transformed = AlignedBuffer::zeros(self.panels * len);
            let to = SendPtr::new(transformed.as_mut_ptr());
            dispatch(self.isa, Transform::<E>(self, to, PhantomData));
            self.transformed = transformed;
        }
    }

    /// The precomputed `U` of one panel.
    fn precomputed(&self, panel: usize) -> Planes {
        let (words, width) = (self.words(), self.panel());
        let len = Planes::len(words, width);
        let planes = &self.transformed[panel * len..][..len];
        // nothing writes through this pointer
        Planes::new(SendPtr::new(planes.as_ptr().cast_mut()), words, width)
    }
}

/// Transforms the weights of all panels, each into its own planes.
struct Transform<'a, E>(&'a PackedConv, SendPtr, PhantomData<E>);

impl<E: Element> Kernel for Transform<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self(conv, to, _) = self;
        let (words, width) = (conv.words(), conv.panel());
        for panel in 0..conv.panels {
            // SAFETY: the destination has planes for each panel.
            unsafe {
                let to = to.add(panel * Planes::len(words, width));
                weights::<E, S>(conv, panel, 0..words, Planes::new(to, words, width));
            }
        }
    }
}

/// A Winograd convolution: its arguments and its partition into tiles and
/// tasks.
#[derive(Clone, Copy)]
pub(crate) struct Winograd<'a, E> {
    pub(crate) args: ConvArgs<'a, E>,
    pub(crate) layout: TileLayout,
}

impl<E: Element> Winograd<'_, E> {
    pub(crate) fn run(&self, threads: &ThreadPool) {
        let (conv, layout) = (self.args.conv, self.layout);
        threads.for_each(layout.blocks * layout.groups, |task, worker| {
            let (block, group) = (task / layout.groups, task % layout.groups);
            let tile = |block: usize| block * layout.tiles / layout.blocks;
            let panel = |group: usize| group * conv.panels / layout.groups;
            let (tiles, panels) = (tile(block)..tile(block + 1), panel(group)..panel(group + 1));
            let task = Task {
                winograd: self,
                tiles: tiles.clone(),
                panels: panels.clone(),
                worker,
            };
            dispatch(conv.isa, task);
            self.notify_pool(tiles, panels);
        });
    }

    /// Reports the outputs of `tiles` to the pooling epilogue, tile by tile.
    fn notify_pool(&self, tiles: Range<usize>, panels: Range<usize>) {
        let Some(pool) = self.args.pool else { return };
        for panel in panels {
            let channels = self.args.channels(panel).range();
            for (n, y, x) in tiles.clone().map(|tile| self.position(tile)) {
                let (rows, columns) = self.output_size(y, x);
                let first = n * self.args.output.map.height + y;
                pool.rows_written(first..first + rows, columns, panel, &channels);
            }
        }
    }

    /// Rows and columns of the tile at (`y`, `x`), clipped to the output.
    fn output_size(&self, y: usize, x: usize) -> (usize, usize) {
        let map = &self.args.output.map;
        (
            OUTPUT_TILE.min(map.height - y),
            OUTPUT_TILE.min(map.width - x),
        )
    }
}

/// A range of tiles times a range of output channel panels.
struct Task<'a, E> {
    winograd: &'a Winograd<'a, E>,
    tiles: Range<usize>,
    panels: Range<usize>,
    worker: usize,
}

impl<E: Element> Kernel for Task<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: these are the panel widths that `isa` packs weights for.
        unsafe {
            match self.winograd.args.conv.vectors {
                1 => self.panels::<S, 1>(),
                2 => self.panels::<S, 2>(),
                _ if S::LANES == 16 => self.panels::<S, 4>(),
                _ => unreachable!("panels of 8-lane vectors have at most two vectors"),
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    #[inline(always)]
    unsafe fn panels<S: Simd, const V: usize>(&self) {
        let Winograd { args, layout } = self.winograd;
        let (conv, tiles) = (args.conv, &self.tiles);
        let (words, width) = (conv.words(), conv.panel());
        // SAFETY: the workspace has this many words for each worker; a task has
        // at most a block of tiles.
        unsafe {
            let mut free = args.workspace.add(self.worker * layout.workspace(conv));
            let v = Planes::new(free, layout.block, words);
            free = free.add(Planes::len(layout.block, words));
            let m = Planes::new(free, layout.block, width);
            free = free.add(Planes::len(layout.block, width));
            let u = Planes::new(free, layout.depth, width);
            for (i, tile) in tiles.clone().enumerate() {
                self.winograd.input::<S>(tile, v, i);
            }
            for panel in self.panels.clone() {
                if conv.transformed.is_empty() {
                    for start in (0..words).step_by(layout.depth) {
                        let part = start..words.min(start + layout.depth);
                        weights::<E, S>(conv, panel, part.clone(), u);
                        multiply_points::<E, S, V>(v, part, u, m, tiles.len());
                    }
                } else {
                    multiply_points::<E, S, V>(
                        v,
                        0..words,
                        conv.precomputed(panel),
                        m,
                        tiles.len(),
                    );
                }
                self.winograd.output::<S, V>(tiles.clone(), panel, m);
            }
        }
    }
}

impl<E: Element> Winograd<'_, E> {
    /// Computes `V` of one tile into row `r` of `to`. Rows and columns outside
    /// the feature map are read from its border.
    #[inline(always)]
    unsafe fn input<S: Simd>(&self, tile: usize, to: Planes, r: usize) {
        let input = &self.args.input;
        let (map, affine) = (input.map(), input.affine());
        let (n, y, x) = self.position(tile);
        let first = map.offset(n, y as isize - 1, x as isize - 1);
        // SAFETY: row `height` and column `width` are in the border, which is
        // at least as wide as the padding; `to` has row `r`.
        unsafe {
            let corner = input.data().as_ptr().add(first);
            let rows: [*const E; INPUT_TILE] =
                std::array::from_fn(|i| corner.add(i.min(map.height + 1 - y) * map.row_stride()));
            let columns: [usize; INPUT_TILE] =
                std::array::from_fn(|j| j.min(map.width + 1 - x) * map.channels);
            let to_row: *mut E = to.at(0, r).cast();
            let plane = to.plane * E::PER_WORD;
            for c in (0..map.channels).step_by(S::LANES) {
                transform::input(
                    |i, j| E::load::<S>(rows[i].add(columns[j] + c), affine),
                    |point, v| E::store(v, to_row.add(point * plane + c), affine),
                );
            }
        }
    }

    /// Computes the outputs of some tiles in one panel from the rows of `from`.
    #[inline(always)]
    unsafe fn output<S: Simd, const V: usize>(
        &self,
        tiles: Range<usize>,
        panel: usize,
        from: Planes,
    ) {
        let conv = self.args.conv;
        let map = self.args.output.map;
        let width = conv.panel();
        let valid = width.min(map.channels - panel * width);
        for (r, tile) in tiles.enumerate() {
            let (n, y, x) = self.position(tile);
            let (rows, columns) = self.output_size(y, x);
            for lane in (0..valid).step_by(S::LANES) {
                let channel = panel * width + lane;
                // SAFETY: rows and columns are clipped to the feature map; no
                // other task of this step writes this tile of this panel.
                unsafe {
                    let sums = transform::output::<S>(from.at(0, r).add(lane), from.plane);
                    let bias = S::load(conv.bias.as_ptr().add(channel));
                    for i in 0..rows {
                        for j in 0..columns {
                            let offsets = self.args.offsets(n, y + i, x + j);
                            let sum = [sums[i][j].add(bias)];
                            self.args.store_biased(sum, offsets, (channel, S::LANES));
                        }
                    }
                }
            }
        }
    }

    /// The image, row and column of a tile's first output.
    fn position(&self, tile: usize) -> (usize, usize, usize) {
        let TileLayout { down, across, .. } = self.layout;
        let (n, rest) = (tile / (down * across), tile % (down * across));
        (n, rest / across * OUTPUT_TILE, rest % across * OUTPUT_TILE)
    }
}

/// Computes `U` of one panel for a range of words of input channels, into the
/// rows of `to`.
#[inline(always)]
unsafe fn weights<E: Element, S: Simd>(
    conv: &PackedConv,
    panel: usize,
    words: Range<usize>,
    to: Planes,
) {
    let width = conv.panel();
    let tap = conv.words() * width;
    // SAFETY: a panel has 9 taps; `to` has a row for each word.
    unsafe {
        let from = conv.weights.as_ptr().add(panel * 9 * tap);
        for (r, word) in words.enumerate() {
            for lane in (0..width).step_by(S::LANES) {
                let from = from.add(word * width + lane);
                let to_row = to.at(0, r).add(lane);
                let at = |point: usize| to_row.add(point * to.plane);
                if E::PER_WORD == 1 {
                    let load = |k: usize| S::load(from.add(k * tap));
                    transform::weights(load, |point, u| u.store(at(point)));
                } else {
                    // a word has two channels: transformed separately, then
                    // packed again
                    let low = |k: usize| S::load(from.add(k * tap)).low_bf16();
                    let high = |k: usize| S::load(from.add(k * tap)).high_bf16();
                    let mut lows = [S::splat(0.0); POINTS];
                    transform::weights(low, |point, u| lows[point] = u);
                    transform::weights(high, |point, u| {
                        S::pair_bf16(lows[point], u).store(at(point));
                    });
                }
            }
        }
    }
}
