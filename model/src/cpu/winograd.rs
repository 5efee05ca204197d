//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): tiles and weights
//! are transformed, multiplied as 36 matrix products, and transformed back.
//!
//! ```text
//! V[p, t, c] = input transform of tile t        U[p, c, o] = weight transform
//! M[p, t, o] = sum over c of V[p, t, c] * U[p, c, o]
//! y[tile t, o] = act(bias[o] + residual + output transform of M[.., t, o])
//! ```
//!
//! Transformed weights are four times the size of the weights, so none are
//! kept: each forward pass makes them afresh, in cache, from the packed ones.
//! With many tiles, the weights are transformed first and each task takes some
//! tiles through all output channels; with few, the tiles are transformed
//! first and each task takes one panel of output channels through all tiles.

mod products;

use std::ops::Range;

use super::element::Element;
use super::level::{Kernel, dispatch};
use super::map::Map;

use super::operands::Operands;
use super::pack::PackedConv;
use super::simd::Simd;
use super::transform::{self, POINTS, SIDE, STEP};
use crate::cores::Cores;
use products::{Planes, products};

/// Words of a task's transformed tiles or weights: half of a 512 KiB L2.
const HALF_L2: usize = 64 * 1024;

/// Tiles that share one transform of the weights, where the tiles come first.
const SHARED_TILES: usize = 96;

/// How a convolution of some map is done.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Tiles down, across, and in the whole batch.
    down: usize,
    across: usize,
    tiles: usize,
    /// Tiles of a task (weights first) or of a pass (tiles first).
    block: usize,
    /// Words of input channels whose weights a task transforms at a time.
    depth: usize,
    weights_first: bool,
}

impl Layout {
    /// `None` where direct multiplication is less work, or impossible.
    pub(crate) fn new(conv: &PackedConv, map: &Map, workers: usize) -> Option<Self> {
        let spec = &conv.spec;
        let lanes = conv.level.lanes();
        // bytes would have to grow before they are multiplied; tiles multiply
        // faster than vectors transform
        let fits = conv.per_word < 4
            && !conv.tiled()
            && spec.kernel == (3, 3)
            && (spec.stride, spec.padding, spec.groups) == (1, 1, 1)
            && spec.cin.is_multiple_of(lanes)
            && spec.cout.is_multiple_of(lanes);
        let (down, across) = (map.height.div_ceil(STEP), map.width.div_ceil(STEP));
        let tiles = map.n * down * across;
        // Multiply-adds for each pair of channels, and the weights' transform
        // as if it were some: it stays in f32 when they get faster.
        let direct = map.n * map.height * map.width * 9;
        if !fits || POINTS * tiles + 160 * conv.per_word > direct * 4 / 5 {
            return None;
        }
        let room = HALF_L2 / POINTS;
        let weights_first = spec.cin <= 128 && tiles >= 36;
        let block = if weights_first {
            let most = (room / conv.words()).clamp(12, 24);
            // as many tasks for each worker
            let tasks = tiles.div_ceil(most).next_multiple_of(workers);
            tiles.div_ceil(tasks)
        } else {
            tiles.min(SHARED_TILES)
        };
        Some(Self {
            down,
            across,
            tiles,
            block,
            depth: (room / conv.panel())
                .next_multiple_of(lanes)
                .min(conv.words()),
            weights_first,
        })
    }

    /// Words of the planes shared by all workers, and of each worker's own.
    pub(crate) fn workspace(&self, conv: &PackedConv) -> (usize, usize) {
        let (words, panel) = (conv.words(), conv.panel());
        let products = Planes::len(self.block, panel);
        let tiles = Planes::len(self.block, words);
        if self.weights_first {
            (conv.panels * Planes::len(words, panel), tiles + products)
        } else {
            (tiles, Planes::len(self.depth, panel) + products)
        }
    }
}

/// A convolution's operands with how it is done.
#[derive(Clone, Copy)]
pub(crate) struct Winograd<'a, E> {
    pub(crate) operands: Operands<'a, E>,
    pub(crate) layout: Layout,
}

impl<E: Element> Winograd<'_, E> {
    pub(crate) fn run(&self, cores: &Cores) {
        let (conv, layout) = (self.operands.conv, self.layout);
        let step = |start: usize| start..layout.tiles.min(start + layout.block);
        if layout.weights_first {
            cores.for_each(conv.panels, |panel, _| {
                dispatch(conv.level, Step::Weights(self, panel));
            });
            cores.for_each(layout.tiles.div_ceil(layout.block), |i, worker| {
                let tiles = step(i * layout.block);
                dispatch(conv.level, Step::Tiles(self, tiles, worker));
            });
        } else {
            for start in (0..layout.tiles).step_by(layout.block) {
                let tiles = step(start);
                cores.for_each(tiles.len(), |i, _| {
                    dispatch(conv.level, Step::Input(self, start, start + i));
                });
                cores.for_each(conv.panels, |panel, worker| {
                    dispatch(conv.level, Step::Panel(self, tiles.clone(), panel, worker));
                });
            }
        }
    }
}

/// What a task does.
enum Step<'a, E> {
    /// Transform a panel of weights, for all.
    Weights(&'a Winograd<'a, E>, usize),
    /// Take some tiles through all panels.
    Tiles(&'a Winograd<'a, E>, Range<usize>, usize),
    /// Transform one tile of the pass that began at the first, for all.
    Input(&'a Winograd<'a, E>, usize, usize),
    /// Take one panel through the tiles of a pass.
    Panel(&'a Winograd<'a, E>, Range<usize>, usize, usize),
}

impl<E: Element> Kernel for Step<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the planes lie apart in a workspace of the asked-for length;
        // panels, tiles and workers are those of the layout.
        unsafe {
            match self {
                Step::Weights(w, panel) => {
                    let words = 0..w.operands.conv.words();
                    w.weights::<S>(panel, words, w.shared_weights(panel));
                }
                Step::Tiles(w, tiles, worker) => match w.operands.conv.vectors {
                    1 => w.tiles::<S, 1>(tiles, worker),
                    2 => w.tiles::<S, 2>(tiles, worker),
                    _ if S::LANES == 16 => w.tiles::<S, 4>(tiles, worker),
                    _ => unreachable!("narrow vectors have panels of at most two"),
                },
                Step::Input(w, first, tile) => {
                    w.input::<S>(tile, w.shared_tiles(), tile - first);
                }
                Step::Panel(w, tiles, panel, worker) => match w.operands.conv.vectors {
                    1 => w.panel::<S, 1>(tiles, panel, worker),
                    2 => w.panel::<S, 2>(tiles, panel, worker),
                    _ if S::LANES == 16 => w.panel::<S, 4>(tiles, panel, worker),
                    _ => unreachable!("narrow vectors have panels of at most two"),
                },
            }
        }
    }
}

impl<E: Element> Winograd<'_, E> {
    /// `U` of one panel, where all are made first.
    unsafe fn shared_weights(&self, panel: usize) -> Planes {
        let (words, width) = (self.operands.conv.words(), self.operands.conv.panel());
        let before = panel * Planes::len(words, width);
        // SAFETY: the workspace has a set of planes for each panel.
        let start = unsafe { self.operands.workspace.add(before) };
        Planes::new(start, words, width)
    }

    /// `V` of a pass, where the tiles are transformed first.
    fn shared_tiles(&self) -> Planes {
        let words = self.operands.conv.words();
        Planes::new(self.operands.workspace, self.layout.block, words)
    }

    /// A worker's own two: `V` of a task's tiles or `U` of its panel, and `M`.
    unsafe fn own(&self, worker: usize, rows: usize, row: usize) -> (Planes, Planes) {
        let (shared, own) = self.layout.workspace(self.operands.conv);
        // SAFETY: the workspace has `own` words for each worker.
        unsafe {
            let first = self.operands.workspace.add(shared + worker * own);
            let second = first.add(Planes::len(rows, row));
            let width = self.operands.conv.panel();
            (
                Planes::new(first, rows, row),
                Planes::new(second, self.layout.block, width),
            )
        }
    }

    /// Some tiles through all panels.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const V: usize>(&self, tiles: Range<usize>, worker: usize) {
        let words = self.operands.conv.words();
        // SAFETY: the caller's.
        unsafe {
            let (v, m) = self.own(worker, self.layout.block, words);
            for (i, tile) in tiles.clone().enumerate() {
                self.input::<S>(tile, v, i);
            }
            for panel in 0..self.operands.conv.panels {
                let u = self.shared_weights(panel);
                products::<E, S, V>(v, 0..words, u, m, tiles.len());
                self.output::<S, V>(tiles.clone(), panel, m);
            }
        }
    }

    /// One panel through the tiles of a pass.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(
        &self,
        tiles: Range<usize>,
        panel: usize,
        worker: usize,
    ) {
        let (conv, depth) = (self.operands.conv, self.layout.depth);
        // SAFETY: the caller's.
        unsafe {
            let (u, m) = self.own(worker, depth, conv.panel());
            for start in (0..conv.words()).step_by(depth) {
                let words = start..conv.words().min(start + depth);
                self.weights::<S>(panel, words.clone(), u);
                products::<E, S, V>(self.shared_tiles(), words, u, m, tiles.len());
            }
            self.output::<S, V>(tiles, panel, m);
        }
    }

    /// `V` of one tile, to row `r` of `to`. Rows and columns beyond the map
    /// are read from its border.
    #[inline(always)]
    unsafe fn input<S: Simd>(&self, tile: usize, to: Planes, r: usize) {
        let input = &self.operands.input;
        let (map, affine) = (input.map(), input.affine());
        let (n, y, x) = self.place(tile);
        let first = map.at(n, y as isize - 1, x as isize - 1);
        // SAFETY: row `height` and column `width` are the border's, and the
        // padding's border was checked; `to` has row `r`.
        unsafe {
            let corner = input.data().as_ptr().add(first);
            let rows: [*const E; SIDE] =
                std::array::from_fn(|i| corner.add(i.min(map.height + 1 - y) * map.row()));
            let columns: [usize; SIDE] =
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

    /// `U` of some words of input channels of a panel, to the rows of `to`.
    #[inline(always)]
    unsafe fn weights<S: Simd>(&self, panel: usize, words: Range<usize>, to: Planes) {
        let conv = self.operands.conv;
        let width = conv.panel();
        let tap = conv.words() * width;
        // SAFETY: a panel has 9 taps; `to` has the rows.
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
                        // two channels a word, transformed apart, joined again
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

    /// The outputs of some tiles and one panel from the rows of `from`.
    #[inline(always)]
    unsafe fn output<S: Simd, const V: usize>(
        &self,
        tiles: Range<usize>,
        panel: usize,
        from: Planes,
    ) {
        let conv = self.operands.conv;
        let map = self.operands.output.map;
        let width = conv.panel();
        let valid = width.min(map.channels - panel * width);
        for (r, tile) in tiles.enumerate() {
            let (n, y, x) = self.place(tile);
            let (rows, columns) = (STEP.min(map.height - y), STEP.min(map.width - x));
            for lane in (0..valid).step_by(S::LANES) {
                let channel = panel * width + lane;
                // SAFETY: rows and columns are clipped to the map; no other
                // task of this step has this tile and this panel.
                unsafe {
                    let sums = transform::output::<S>(from.at(0, r).add(lane), from.plane);
                    let bias = S::load(conv.bias.as_ptr().add(channel));
                    for i in 0..rows {
                        for j in 0..columns {
                            let place = self.operands.at(n, y + i, x + j);
                            let sum = [sums[i][j].add(bias)];
                            self.operands.finish(sum, place, (channel, S::LANES));
                        }
                    }
                }
            }
        }
    }

    /// Image, row and column of a tile's first output.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let Layout { down, across, .. } = self.layout;
        let (n, rest) = (tile / (down * across), tile % (down * across));
        (n, rest / across * STEP, rest % across * STEP)
    }
}
