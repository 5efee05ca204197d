//! The assignment of a task's pixels to AMX tiles. A tile reads its rows
//! directly from the feature map, at a constant stride, or from copies of the
//! windows.

use std::ops::Range;

use crate::cpu::amx::{ROW_BYTES, ROWS};
use crate::cpu::conv_args::{ConvArgs, PixelOffsets, TASK_PIXELS};
use crate::cpu::element::Element;
use crate::cpu::feature_map::FeatureMap;
use crate::cpu::pack::PackedConv;
use crate::cpu::run::Run;

/// Words of a step along K.
pub(super) const STEP_WORDS: usize = ROW_BYTES / 4;

/// Words of copied tiles that a task keeps: a third of L2, or 4 tiles of 3x3 x 512
/// bf16.
const COPIED_WORDS: usize = 160 * 1024;

/// The most tiles of a pass.
const TILES: usize = 32;

/// The cost of copying a tile, in panels that the tile is multiplied by. Copying a
/// cache line and reading it again from L2 is estimated at 8 cycles, with 16 lines
/// per step; the two products of a step take 32 cycles.
const COPY_COST: usize = 4;

/// Words from one copied window to the next: padded by a cache line, so that the
/// 16 rows of a tile do not map to the same cache set.
fn copied_row(conv: &PackedConv) -> usize {
    conv.k_words + STEP_WORDS
}

/// Number of input tiles that fit into the copy buffer of a task, at least one.
fn slots(conv: &PackedConv, output: &FeatureMap) -> usize {
    let tiles = (output.n * output.height * output.width).div_ceil(ROWS);
    (COPIED_WORDS / (ROWS * copied_row(conv))).clamp(1, tiles.max(1))
}

/// Words of workspace for each worker.
pub(crate) fn workspace(conv: &PackedConv, output: &FeatureMap) -> usize {
    slots(conv, output) * ROWS * copied_row(conv)
}

/// An AMX tile of up to 16 of a task's pixels.
#[derive(Clone, Copy)]
pub(super) struct PixelTile {
    /// The window of the first row, starting at the group's channels.
    pub(super) from: *const u8,
    /// Bytes from one row to the next.
    pub(super) stride: usize,
    /// Whether the rows are copies of windows, contiguous along K.
    pub(super) copied: bool,
    /// The first of the task's pixels in this tile.
    pub(super) first: usize,
    /// The number of pixels.
    pub(super) pixels: usize,
}

/// The tiles that are multiplied by all of the task's panels of a group before
/// the next tiles are set up.
pub(super) struct Pass {
    tiles: [PixelTile; TILES],
    count: usize,
    /// The row of each of the task's pixels in its tile. Other rows of a tile
    /// belong to the border or to other tasks; their sums are ignored.
    pub(super) rows: [u8; TASK_PIXELS],
}

impl Pass {
    pub(super) const EMPTY: Self = Self {
        tiles: [PixelTile {
            from: std::ptr::null(),
            stride: 0,
            copied: false,
            first: 0,
            pixels: 0,
        }; TILES],
        count: 0,
        rows: [0; TASK_PIXELS],
    };

    pub(super) fn tiles(&self) -> &[PixelTile] {
        &self.tiles[..self.count]
    }
}

/// A range of output pixels times a range of output channel panels.
pub(super) struct Task<'a, E> {
    pub(super) args: ConvArgs<'a, E>,
    pub(super) pixels: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) worker: usize,
}

impl<E: Element> Task<'_, E> {
    /// Sets up the tiles of a pass that starts with the task's pixel `next`.
    /// Returns the first pixel of the next pass.
    ///
    /// A tile's windows are copied if they cannot be read in place, or if
    /// reading them in place would leave so many rows unused that copying is
    /// cheaper.
    #[inline(always)]
    pub(super) fn fill_pass(
        &self,
        pass: &mut Pass,
        mut next: usize,
        offsets: &PixelOffsets,
        group: usize,
        panels: usize,
    ) -> usize {
        let (conv, map) = (self.args.conv, self.args.output.map);
        let data = &self.args.input.data()[group * conv.group_cin..];
        let step = conv.spec.stride * conv.spec.cin;
        let reach = self.reach();
        let slots = slots(conv, &map);
        let mut copied = 0;
        pass.count = 0;
        while next < self.pixels.len() && pass.count < TILES {
            let rest = ROWS.min(self.pixels.len() - next);
            let corners = &offsets.input[next..next + rest];
            let rows = &mut pass.rows[next..next + rest];
            // with one pixel, all rows of the tile read the same window
            let step = if rest == 1 { 0 } else { step };
            let room = data.len().checked_sub(reach + (ROWS - 1) * step);
            let (start, covered) = room.map_or((0, 0), |room| in_place(corners, step, room, rows));
            let copy = rest * panels > covered * (panels + COPY_COST);
            if copy && copied == slots {
                break;
            }
            let (from, stride, pixels) = if copy {
                rows.iter_mut().zip(0..).for_each(|(row, r)| *row = r);
                let stride = copied_row(conv);
                let slot = (self.worker * slots + copied) * ROWS * stride;
                copied += 1;
                // SAFETY: the workspace has this many tiles for each worker.
                let to = unsafe { self.args.workspace.add(slot).get() };
                // SAFETY: as above; only this task uses the worker's part.
                unsafe { self.copy_windows(data, corners, to) };
                (to.cast_const().cast(), 4 * stride, rest)
            } else {
                debug_assert!(start + (ROWS - 1) * step + reach <= data.len());
                let from: *const u8 = data[start..].as_ptr().cast();
                (from, step * size_of::<E>(), covered)
            };
            pass.tiles[pass.count] = PixelTile {
                from,
                stride,
                copied: copy,
                first: next,
                pixels,
            };
            pass.count += 1;
            next += pixels;
        }
        next
    }

    /// Elements from a window's corner to the end of its last run.
    fn reach(&self) -> usize {
        let (conv, row) = (self.args.conv, self.args.input.map().row_stride());
        let end = |run: &Run| run.row * row + (run.start + run.len) * E::PER_WORD;
        conv.runs.iter().map(end).max().unwrap_or(0)
    }

    /// Copies the windows at `corners` to the rows of a tile, each one
    /// contiguously (im2col for one tile). Elements past the end of the input
    /// become zero.
    ///
    /// # Safety
    /// `to` has room for a copied tile and belongs to this task.
    #[inline(always)]
    unsafe fn copy_windows(&self, data: &[E], corners: &[usize], to: *mut f32) {
        type Line = [u8; ROW_BYTES];
        let (conv, row) = (self.args.conv, self.args.input.map().row_stride());
        for (r, corner) in corners.iter().enumerate() {
            // SAFETY: this row is inside the tile.
            let mut to: *mut E = unsafe { to.add(r * copied_row(conv)).cast() };
            for run in &conv.runs {
                let start = corner + run.row * row + run.start * E::PER_WORD;
                for line in 0..run.len / STEP_WORDS {
                    let from = &data[data.len().min(start + line * STEP_WORDS * E::PER_WORD)..];
                    let available = from.len().min(STEP_WORDS * E::PER_WORD);
                    // SAFETY: the row has room for the whole window, and
                    // `available` elements can be read; any bytes are a valid
                    // line.
                    unsafe {
                        if available == STEP_WORDS * E::PER_WORD {
                            let line = from.as_ptr().cast::<Line>().read_unaligned();
                            to.cast::<Line>().write_unaligned(line);
                        } else {
                            to.cast::<Line>().write_unaligned([0; ROW_BYTES]);
                            to.copy_from_nonoverlapping(from.as_ptr(), available);
                        }
                        to = to.add(STEP_WORDS * E::PER_WORD);
                    }
                }
            }
        }
    }
}

/// Finds the start of a tile whose rows, `step` elements apart, are the windows
/// at the first `corners`, and how many of them it covers. The tile's row of
/// each covered window is written to `rows`.
///
/// Border pixels between two rows of pixels are multiplied too: 7 pixels, 2
/// border pixels and the next 7 pixels fill the 16 rows of a tile. A tile must
/// not start after `room`, the last position from which 16 rows can be read, so
/// a tile at the end of the feature map starts with pixels of earlier tiles.
#[inline(always)]
fn in_place(corners: &[usize], step: usize, room: usize, rows: &mut [u8]) -> (usize, usize) {
    let mut row = match corners[0].saturating_sub(room) {
        0 => 0,
        _ if step == 0 => return (0, 0),
        over => over.div_ceil(step),
    };
    let Some(start) = corners[0].checked_sub(row * step) else {
        return (0, 0);
    };
    let mut covered = 0;
    for (&corner, to) in corners.iter().zip(rows) {
        while row < ROWS && start + row * step < corner {
            row += 1;
        }
        if row >= ROWS || start + row * step != corner {
            break;
        }
        *to = row as u8;
        covered += 1;
    }
    (start, covered)
}
