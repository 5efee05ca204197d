//! Which pixels share a tile, and where its rows are read: in the map, a
//! stride apart, or in copies of the windows.

use super::{STEP, Task};
use crate::cpu::amx::{ROW, ROWS};
use crate::cpu::element::Element;
use crate::cpu::map::Map;
use crate::cpu::micro::Run;
use crate::cpu::operands::{Offsets, TASK_PIXELS};
use crate::cpu::pack::PackedConv;

/// Words of gathered tiles that a task keeps: a third of L2, which is 4 tiles
/// of 3x3 x 512 bf16.
const GATHERED: usize = 160 * 1024;

/// Most tiles of a pass.
const TILES: usize = 32;

/// What it costs to gather a tile, in panels that multiply it: copying a line
/// and reading it again from L2 is taken to be 8 cycles, 16 lines a step; the
/// step's two products are 32.
const GATHERING: usize = 4;

/// Words from a gathered pixel to the next: a line more than its window, so
/// that 16 of them do not fall on one cache set.
fn gathered_row(conv: &PackedConv) -> usize {
    conv.window + STEP
}

/// Tiles that a task has room to gather, at least one.
fn slots(conv: &PackedConv, output: &Map) -> usize {
    let tiles = (output.n * output.height * output.width).div_ceil(ROWS);
    (GATHERED / (ROWS * gathered_row(conv))).clamp(1, tiles.max(1))
}

/// Words of workspace for each worker.
pub(crate) fn workspace(conv: &PackedConv, output: &Map) -> usize {
    slots(conv, output) * ROWS * gathered_row(conv)
}

/// Up to 16 of a task's pixels, and where the rows of their tile are read.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The first row's window, of the group in turn.
    pub(super) from: *const u8,
    /// Bytes from a row to the next.
    pub(super) stride: usize,
    /// Whether its windows were copied, and lie in one piece.
    pub(super) gathered: bool,
    /// The task's first pixel, and how many.
    pub(super) first: usize,
    pub(super) pixels: usize,
}

/// Tiles that follow each other, through all of the task's panels of a group.
pub(super) struct Pass {
    tiles: [Tile; TILES],
    count: usize,
    /// The row of each of the task's pixels in its tile: the rows between are
    /// of border or of other tasks' pixels, and their sums are left alone.
    pub(super) rows: [u8; TASK_PIXELS],
}

impl Pass {
    pub(super) const EMPTY: Self = Self {
        tiles: [Tile {
            from: std::ptr::null(),
            stride: 0,
            gathered: false,
            first: 0,
            pixels: 0,
        }; TILES],
        count: 0,
        rows: [0; TASK_PIXELS],
    };

    pub(super) fn tiles(&self) -> &[Tile] {
        &self.tiles[..self.count]
    }
}

impl<E: Element> Task<'_, E> {
    /// The tiles of a pass that begins with the task's pixel `next`; returns
    /// the first pixel that it has no room for. A tile is gathered where it
    /// cannot be read in place, or where that would leave so many rows empty
    /// that the copy is less work.
    #[inline(always)]
    pub(super) fn fill(
        &self,
        pass: &mut Pass,
        mut next: usize,
        offsets: &Offsets,
        group: usize,
        panels: usize,
    ) -> usize {
        let (conv, map) = (self.operands.conv, self.operands.output.map);
        let data = &self.operands.input.data()[group * conv.group_cin..];
        let step = conv.spec.stride * conv.spec.cin;
        let reach = self.reach();
        let slots = slots(conv, &map);
        let mut gathered = 0;
        pass.count = 0;
        while next < self.pixels.len() && pass.count < TILES {
            let rest = ROWS.min(self.pixels.len() - next);
            let corners = &offsets.input[next..next + rest];
            let rows = &mut pass.rows[next..next + rest];
            // one pixel fills a tile by itself
            let step = if rest == 1 { 0 } else { step };
            let room = data.len().checked_sub(reach + (ROWS - 1) * step);
            let (start, covered) = room.map_or((0, 0), |room| in_place(corners, step, room, rows));
            let dense = rest * panels > covered * (panels + GATHERING);
            if dense && gathered == slots {
                break;
            }
            let (from, stride, pixels) = if dense {
                rows.iter_mut().zip(0..).for_each(|(row, r)| *row = r);
                let stride = gathered_row(conv);
                let slot = (self.worker * slots + gathered) * ROWS * stride;
                gathered += 1;
                // SAFETY: the workspace has as many tiles for each worker.
                let to = unsafe { self.operands.workspace.add(slot).start() };
                // SAFETY: as above; the worker is this task's.
                unsafe { self.gather(data, corners, to) };
                (to.cast_const().cast(), 4 * stride, rest)
            } else {
                debug_assert!(start + (ROWS - 1) * step + reach <= data.len());
                let from: *const u8 = data[start..].as_ptr().cast();
                (from, step * size_of::<E>(), covered)
            };
            pass.tiles[pass.count] = Tile {
                from,
                stride,
                gathered: dense,
                first: next,
                pixels,
            };
            pass.count += 1;
            next += pixels;
        }
        next
    }

    /// Numbers from a window's corner to the end of what is read of it.
    fn reach(&self) -> usize {
        let (conv, row) = (self.operands.conv, self.operands.input.map().row());
        let end = |run: &Run| run.row * row + (run.start + run.len) * E::PER_WORD;
        conv.runs.iter().map(end).max().unwrap_or(0)
    }

    /// Copies the windows at `corners`, each in one piece, to the rows of a
    /// tile. What would be read behind the map is zero.
    ///
    /// # Safety
    /// `to` has a gathered tile's words, and they are this task's.
    #[inline(always)]
    unsafe fn gather(&self, data: &[E], corners: &[usize], to: *mut f32) {
        type Line = [u8; ROW];
        let (conv, row) = (self.operands.conv, self.operands.input.map().row());
        for (r, corner) in corners.iter().enumerate() {
            // SAFETY: a row of the tile.
            let mut to: *mut E = unsafe { to.add(r * gathered_row(conv)).cast() };
            for run in &conv.runs {
                let start = corner + run.row * row + run.start * E::PER_WORD;
                for line in 0..run.len / STEP {
                    let from = &data[data.len().min(start + line * STEP * E::PER_WORD)..];
                    let there = from.len().min(STEP * E::PER_WORD);
                    // SAFETY: the row has the window's words, and as many
                    // numbers are there; any bytes are a line.
                    unsafe {
                        if there == STEP * E::PER_WORD {
                            let line = from.as_ptr().cast::<Line>().read_unaligned();
                            to.cast::<Line>().write_unaligned(line);
                        } else {
                            to.cast::<Line>().write_unaligned([0; ROW]);
                            to.copy_from_nonoverlapping(from.as_ptr(), there);
                        }
                        to = to.add(STEP * E::PER_WORD);
                    }
                }
            }
        }
    }
}

/// Where a tile may start so that its rows, `step` numbers apart, are the
/// windows at the first corners, and how many of those it covers. Border
/// between two rows of pixels is multiplied with them: 7 pixels, 2 of border
/// and 7 of the next row are a tile of 14. No row may start behind the last
/// tile's place, `room`: a tile at the end of the map begins with pixels that
/// earlier ones had.
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
