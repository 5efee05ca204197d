//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): tiles and weights
//! are transformed, multiplied as 36 matrix products, and transformed back.
//!
//! ```text
//! V[p, t, c] = input transform of tile t        U[p, c, o] = weight transform
//! M[p, t, o] = sum over c of V[p, t, c] * U[p, c, o]
//! y[tile t, o] = act(bias[o] + residual + output transform of M[.., t, o])
//! ```
//!
//! A task takes some tiles through some panels of output channels, and shares
//! nothing that it makes: another core's cache may be far. Transformed weights
//! are four times the size of the weights. Of layers with few channels they are
//! made once, at load; of the others, where they would come from memory, each
//! task makes them afresh, in cache, from the packed ones.

mod layout;
mod products;

use std::marker::PhantomData;
use std::ops::Range;

use super::element::Element;
use super::floats::Floats;
use super::level::{Kernel, dispatch};
use super::map::Shared;
use super::operands::Operands;
use super::pack::PackedConv;
use super::simd::Simd;
use super::transform::{self, POINTS, SIDE, STEP};
use crate::cores::Cores;
pub(crate) use layout::Layout;
use products::{Planes, products};

/// The most input channels for which transformed weights are kept: a network's
/// stay below 10 MB, and are fetched in less time than made.
const KEPT_CHANNELS: usize = 128;

impl PackedConv {
    /// Whether Winograd's way is possible, and pays: bytes would have to grow
    /// before they are multiplied; tiles multiply faster than vectors transform.
    fn transformable(&self) -> bool {
        let (spec, lanes) = (&self.spec, self.level.lanes());
        self.per_word < 4
            && !self.tiled()
            && spec.kernel == (3, 3)
            && (spec.stride, spec.padding, spec.groups) == (1, 1, 1)
            && spec.cin.is_multiple_of(lanes)
            && spec.cout.is_multiple_of(lanes)
    }

    /// Makes the transformed weights of a layer with few channels; nothing of
    /// others.
    pub(super) fn keep_transformed<E: Element>(&mut self) {
        if self.transformable() && self.spec.cin <= KEPT_CHANNELS {
            let each = Planes::len(self.words(), self.panel());
            let mut kept = Floats::zeros(self.panels * each);
            let to = Shared::new(kept.as_mut_ptr());
            dispatch(self.level, Transform::<E>(self, to, PhantomData));
            self.transformed = kept;
        }
    }

    /// `U` of one panel, where they are kept.
    fn kept(&self, panel: usize) -> Planes {
        let (words, width) = (self.words(), self.panel());
        let len = Planes::len(words, width);
        let kept = &self.transformed[panel * len..][..len];
        // only ever read
        Planes::new(Shared::new(kept.as_ptr().cast_mut()), words, width)
    }
}

/// Transforms all weights, to planes for each panel.
struct Transform<'a, E>(&'a PackedConv, Shared, PhantomData<E>);

impl<E: Element> Kernel for Transform<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self(conv, to, _) = self;
        let (words, width) = (conv.words(), conv.panel());
        for panel in 0..conv.panels {
            // SAFETY: there are planes for each panel.
            unsafe {
                let to = to.add(panel * Planes::len(words, width));
                weights::<E, S>(conv, panel, 0..words, Planes::new(to, words, width));
            }
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
        cores.for_each(layout.blocks * layout.groups, |task, worker| {
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
            dispatch(conv.level, task);
            self.done(tiles, panels);
        });
    }

    /// Tells the follower of some tiles' outputs, tile by tile.
    fn done(&self, tiles: Range<usize>, panels: Range<usize>) {
        let Operands { follow, output, .. } = self.operands;
        let Some(follow) = follow else { return };
        let map = output.map;
        for panel in panels {
            let channels = self.operands.outputs(panel).channels();
            for (n, y, x) in tiles.clone().map(|tile| self.place(tile)) {
                let (rows, columns) = (STEP.min(map.height - y), STEP.min(map.width - x));
                let first = n * map.height + y;
                follow.area(first..first + rows, columns, panel, &channels);
            }
        }
    }
}

/// Some tiles times some panels of output channels.
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
        // SAFETY: the widths are those this level's weights were packed for.
        unsafe {
            match self.winograd.operands.conv.vectors {
                1 => self.panels::<S, 1>(),
                2 => self.panels::<S, 2>(),
                _ if S::LANES == 16 => self.panels::<S, 4>(),
                _ => unreachable!("narrow vectors have panels of at most two"),
            }
        }
    }
}

impl<E: Element> Task<'_, E> {
    #[inline(always)]
    unsafe fn panels<S: Simd, const V: usize>(&self) {
        let Winograd { operands, layout } = self.winograd;
        let (conv, tiles) = (operands.conv, &self.tiles);
        let (words, width) = (conv.words(), conv.panel());
        // SAFETY: the workspace has as many words for each worker; a task's
        // tiles are no more than a block.
        unsafe {
            let mut free = operands.workspace.add(self.worker * layout.workspace(conv));
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
                        products::<E, S, V>(v, part, u, m, tiles.len());
                    }
                } else {
                    products::<E, S, V>(v, 0..words, conv.kept(panel), m, tiles.len());
                }
                self.winograd.output::<S, V>(tiles.clone(), panel, m);
            }
        }
    }
}

impl<E: Element> Winograd<'_, E> {
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

/// `U` of some words of input channels of a panel, to the rows of `to`.
#[inline(always)]
unsafe fn weights<E: Element, S: Simd>(
    conv: &PackedConv,
    panel: usize,
    words: Range<usize>,
    to: Planes,
) {
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
