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

use std::ops::Range;

use super::map::{Map, Shared, View};
use super::micro::{self, Run, load, multiply, store};
use super::pack::{Activation, PackedConv};
use super::simd::{Kernel, Simd, dispatch};
use super::transform::{self, POINTS, SIDE, STEP};
use crate::cores::Cores;

/// Floats of a task's transformed tiles or weights: half of a 512 KiB L2.
const HALF_L2: usize = 64 * 1024;

/// Tiles that share one transform of the weights, where the tiles come first.
const SHARED_TILES: usize = 96;

/// 36 matrices, one a point: row `r` of point `p` begins at
/// `start + p * plane + r * row`. Planes lie a cache line more apart than their rows need, so
/// that the points of one vector do not fall on one cache set.
#[derive(Clone, Copy)]
struct Planes {
    start: Shared,
    plane: usize,
    row: usize,
}

impl Planes {
    fn new(start: Shared, rows: usize, row: usize) -> Self {
        let plane = rows * row + 16;
        Self { start, plane, row }
    }

    fn len(rows: usize, row: usize) -> usize {
        POINTS * (rows * row + 16)
    }

    /// # Safety
    /// The planes must have row `r`.
    unsafe fn at(&self, point: usize, r: usize) -> *mut f32 {
        // SAFETY: the caller's.
        unsafe { self.start.start().add(point * self.plane + r * self.row) }
    }
}

/// How a convolution of some map is done.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Tiles down, across, and in the whole batch.
    down: usize,
    across: usize,
    tiles: usize,
    /// Tiles of a task (weights first) or of a pass (tiles first).
    block: usize,
    /// Input channels whose weights a task transforms at a time.
    depth: usize,
    weights_first: bool,
}

impl Layout {
    /// `None` where direct multiplication is less work, or impossible.
    pub(crate) fn new(conv: &PackedConv, map: &Map) -> Option<Self> {
        let spec = &conv.spec;
        let lanes = conv.level.lanes();
        let fits = spec.kernel == (3, 3)
            && (spec.stride, spec.padding, spec.groups) == (1, 1, 1)
            && spec.cin.is_multiple_of(lanes)
            && spec.cout.is_multiple_of(lanes);
        let (down, across) = (map.height.div_ceil(STEP), map.width.div_ceil(STEP));
        let tiles = map.n * down * across;
        // Multiply-adds for each pair of channels, weight transform included.
        let direct = map.n * map.height * map.width * 9;
        if !fits || POINTS * tiles + 160 > direct * 4 / 5 {
            return None;
        }
        let room = HALF_L2 / POINTS;
        let weights_first = spec.cin <= 128 && tiles >= 36;
        let block = if weights_first {
            (room / spec.cin).clamp(12, 24).min(tiles)
        } else {
            tiles.min(SHARED_TILES)
        };
        Some(Self {
            down,
            across,
            tiles,
            block,
            depth: (room / conv.panel()).next_multiple_of(lanes).min(spec.cin),
            weights_first,
        })
    }

    /// Floats of the planes shared by all workers, and of each worker's own.
    pub(crate) fn workspace(&self, conv: &PackedConv) -> (usize, usize) {
        let (cin, panel) = (conv.spec.cin, conv.panel());
        let products = Planes::len(self.block, panel);
        let tiles = Planes::len(self.block, cin);
        if self.weights_first {
            (conv.panels * Planes::len(cin, panel), tiles + products)
        } else {
            (tiles, Planes::len(self.depth, panel) + products)
        }
    }
}

/// A convolution's operands.
#[derive(Clone, Copy)]
pub(crate) struct Winograd<'a> {
    pub(crate) conv: &'a PackedConv,
    pub(crate) input: View<'a>,
    /// The residual; null when there is none.
    pub(crate) add: (Shared, Map),
    pub(crate) output: (Shared, Map),
    pub(crate) layout: Layout,
    /// As many floats as the layout asks for.
    pub(crate) workspace: Shared,
}

impl Winograd<'_> {
    pub(crate) fn run(&self, cores: &Cores) {
        let (conv, layout) = (self.conv, self.layout);
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
enum Step<'a> {
    /// Transform a panel of weights, for all.
    Weights(&'a Winograd<'a>, usize),
    /// Take some tiles through all panels.
    Tiles(&'a Winograd<'a>, Range<usize>, usize),
    /// Transform one tile of the pass that began at the first, for all.
    Input(&'a Winograd<'a>, usize, usize),
    /// Take one panel through the tiles of a pass.
    Panel(&'a Winograd<'a>, Range<usize>, usize, usize),
}

impl Kernel for Step<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the planes lie apart in a workspace of the asked-for length;
        // panels, tiles and workers are those of the layout.
        unsafe {
            match self {
                Step::Weights(w, panel) => {
                    w.weights::<S>(panel, 0..w.conv.spec.cin, w.shared_weights(panel));
                }
                Step::Tiles(w, tiles, worker) => match w.conv.vectors {
                    1 => w.tiles::<S, 1>(tiles, worker),
                    2 => w.tiles::<S, 2>(tiles, worker),
                    _ => w.tiles::<S, 4>(tiles, worker),
                },
                Step::Input(w, first, tile) => {
                    w.input::<S>(tile, w.shared_tiles(), tile - first);
                }
                Step::Panel(w, tiles, panel, worker) => match w.conv.vectors {
                    1 => w.panel::<S, 1>(tiles, panel, worker),
                    2 => w.panel::<S, 2>(tiles, panel, worker),
                    _ => w.panel::<S, 4>(tiles, panel, worker),
                },
            }
        }
    }
}

impl Winograd<'_> {
    /// `U` of one panel, where all are made first.
    unsafe fn shared_weights(&self, panel: usize) -> Planes {
        let (cin, width) = (self.conv.spec.cin, self.conv.panel());
        // SAFETY: the workspace has a set of planes for each panel.
        let start = unsafe { self.workspace.add(panel * Planes::len(cin, width)) };
        Planes::new(start, cin, width)
    }

    /// `V` of a pass, where the tiles are transformed first.
    fn shared_tiles(&self) -> Planes {
        Planes::new(self.workspace, self.layout.block, self.conv.spec.cin)
    }

    /// A worker's own two: `V` of a task's tiles or `U` of its panel, and `M`.
    unsafe fn own(&self, worker: usize, rows: usize, row: usize) -> (Planes, Planes) {
        let (shared, own) = self.layout.workspace(self.conv);
        // SAFETY: the workspace has `own` floats for each worker.
        unsafe {
            let first = self.workspace.add(shared + worker * own);
            let second = first.add(Planes::len(rows, row));
            let width = self.conv.panel();
            (
                Planes::new(first, rows, row),
                Planes::new(second, self.layout.block, width),
            )
        }
    }

    /// Some tiles through all panels.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const V: usize>(&self, tiles: Range<usize>, worker: usize) {
        let cin = self.conv.spec.cin;
        // SAFETY: the caller's.
        unsafe {
            let (v, m) = self.own(worker, self.layout.block, cin);
            for (i, tile) in tiles.clone().enumerate() {
                self.input::<S>(tile, v, i);
            }
            for panel in 0..self.conv.panels {
                let u = self.shared_weights(panel);
                products::<S, V>(v, 0..cin, u, m, tiles.len());
                self.output::<S>(tiles.clone(), panel, m);
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
        let (cin, depth) = (self.conv.spec.cin, self.layout.depth);
        // SAFETY: the caller's.
        unsafe {
            let (u, m) = self.own(worker, depth, self.conv.panel());
            for start in (0..cin).step_by(depth) {
                let channels = start..cin.min(start + depth);
                self.weights::<S>(panel, channels.clone(), u);
                products::<S, V>(self.shared_tiles(), channels, u, m, tiles.len());
            }
            self.output::<S>(tiles, panel, m);
        }
    }

    /// `V` of one tile, to row `r` of `to`. Rows and columns beyond the map
    /// are read from its border.
    #[inline(always)]
    unsafe fn input<S: Simd>(&self, tile: usize, to: Planes, r: usize) {
        let map = self.input.map();
        let (n, y, x) = self.place(tile);
        let first = map.at(n, y as isize - 1, x as isize - 1);
        // SAFETY: row `height` and column `width` are the border's, and the
        // padding's border was checked; `to` has row `r`.
        unsafe {
            let corner = self.input.data().as_ptr().add(first);
            let rows = std::array::from_fn(|i| corner.add(i.min(map.height + 1 - y) * map.row()));
            let columns: [usize; SIDE] =
                std::array::from_fn(|j| j.min(map.width + 1 - x) * map.channels);
            for c in (0..map.channels).step_by(S::LANES) {
                let rows: [*const f32; SIDE] = rows.map(|row: *const f32| row.add(c));
                transform::input::<S>(&rows, &columns, to.at(0, r).add(c), to.plane);
            }
        }
    }

    /// `U` of some input channels of a panel, to the rows of `to`.
    #[inline(always)]
    unsafe fn weights<S: Simd>(&self, panel: usize, channels: Range<usize>, to: Planes) {
        let (cin, width) = (self.conv.spec.cin, self.conv.panel());
        // SAFETY: a panel has 9 * cin * width floats; `to` has the rows.
        unsafe {
            let from = self.conv.weights.as_ptr().add(panel * 9 * cin * width);
            for (r, c) in channels.enumerate() {
                for lane in (0..width).step_by(S::LANES) {
                    let from = from.add(c * width + lane);
                    transform::weights::<S>(from, cin * width, to.at(0, r).add(lane), to.plane);
                }
            }
        }
    }

    /// The outputs of some tiles and one panel from the rows of `from`.
    #[inline(always)]
    unsafe fn output<S: Simd>(&self, tiles: Range<usize>, panel: usize, from: Planes) {
        let (map, add_map) = (self.output.1, self.add.1);
        let width = self.conv.panel();
        let valid = width.min(map.channels - panel * width);
        let floor = match self.conv.activation {
            Activation::None => f32::NEG_INFINITY,
            Activation::Relu => 0.0,
        };
        for (r, tile) in tiles.enumerate() {
            let (n, y, x) = self.place(tile);
            let (rows, columns) = (STEP.min(map.height - y), STEP.min(map.width - x));
            for lane in (0..valid).step_by(S::LANES) {
                let channel = panel * width + lane;
                // SAFETY: rows and columns are clipped to the map; no other
                // task of this step has this tile and this panel.
                unsafe {
                    let sums = transform::output::<S>(from.at(0, r).add(lane), from.plane);
                    let bias = S::load(self.conv.bias.as_ptr().add(channel));
                    let floor = S::splat(floor);
                    let to = map.at(n, y as isize, x as isize) + channel;
                    let to = self.output.0.start().add(to);
                    let add = self.add.0.start();
                    let add_at = add_map.at(n, y as isize, x as isize) + channel;
                    for i in 0..STEP {
                        for j in 0..STEP {
                            if i >= rows || j >= columns {
                                continue;
                            }
                            let mut sum = sums[i][j].add(bias);
                            if !add.is_null() {
                                let at = add_at + i * add_map.row() + j * map.channels;
                                sum = sum.add(S::load(add.add(at)));
                            }
                            sum.max(floor)
                                .store(to.add(i * map.row() + j * map.channels));
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

/// `M[p, t, o] (+)= sum over c of V[p, t, c] * U[p, c, o]`, adding to what is
/// there unless the channels begin at 0.
#[inline(always)]
unsafe fn products<S: Simd, const V: usize>(
    v: Planes,
    channels: Range<usize>,
    u: Planes,
    m: Planes,
    tiles: usize,
) {
    let product = Product {
        v,
        u,
        m,
        fresh: channels.start == 0,
        run: Run {
            row: 0,
            start: channels.start,
            len: channels.len(),
        },
    };
    for point in 0..POINTS {
        for rows in micro::tiles(tiles) {
            let r = rows.start;
            // SAFETY: the caller's planes have these rows.
            unsafe {
                match rows.len() {
                    6 => product.tile::<S, 6, V>(point, r),
                    5 => product.tile::<S, 5, V>(point, r),
                    4 => product.tile::<S, 4, V>(point, r),
                    3 => product.tile::<S, 3, V>(point, r),
                    2 => product.tile::<S, 2, V>(point, r),
                    _ => product.tile::<S, 1, V>(point, r),
                }
            }
        }
    }
}

struct Product {
    v: Planes,
    u: Planes,
    m: Planes,
    fresh: bool,
    run: Run,
}

impl Product {
    /// `P` rows from `r` on of one point.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(&self, point: usize, r: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut from = [std::ptr::null(); P];
            let mut to = [std::ptr::null_mut(); P];
            for p in 0..P {
                from[p] = self.v.at(point, r + p).cast_const();
                to[p] = self.m.at(point, r + p);
            }
            let mut sums = [[S::splat(0.0); V]; P];
            if !self.fresh {
                load(&to, &mut sums);
            }
            multiply(&from, &[self.run], 0, self.u.at(point, 0), &mut sums);
            store(&sums, &to);
        }
    }
}
