//! Predicts the samples of macroblocks and adds the transformed coefficients. Samples
//! are predicted from those before the loop filter, so the last row is kept apart.

use super::modes::{Luma, Macroblock, Mode};
use super::planes::YuvPlanes;
use super::predict::{ORIGIN, STRIDE, Sides, Square, predict, predict_block};
use super::residuals::{Content, Residuals};
use super::transform::{add_block, add_mean};

/// What stands for samples above the image, and on its left.
const ABOVE: u8 = 127;
const LEFT: u8 = 129;

/// The squares in which macroblocks are reconstructed: luma, and each chroma.
pub(super) struct Reconstruction {
    squares: [Square; 3],
    /// The last row of the macroblocks above, before the loop filter.
    above: [Vec<u8>; 3],
}

impl Reconstruction {
    /// For rows of this number of macroblocks.
    pub(super) fn new(columns: usize) -> Self {
        let above = |side: usize| vec![ABOVE; side * columns];
        Self {
            squares: [[0; STRIDE * 17]; 3],
            above: [above(16), above(8), above(8)],
        }
    }

    /// Reconstructs a macroblock at a column and row, and writes it to `planes`.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        macroblock: &Macroblock,
        residuals: &Residuals,
        at: [usize; 2],
        planes: &mut YuvPlanes,
    ) {
        let sides = [at[1] > 0, at[0] > 0];
        let [luma, chroma @ ..] = &mut self.squares;
        start::<16>(luma, &self.above[0], at);
        match macroblock.luma {
            Luma::Whole(mode) => {
                predict::<16>(luma, mode, sides);
                for block in 0..16 {
                    add(residuals, block, luma, place(block));
                }
            }
            Luma::Blocks(modes) => {
                repeat_above_right(luma, &self.above[0], at);
                for (block, mode) in modes.into_iter().enumerate() {
                    predict_block(luma, place(block), mode);
                    add(residuals, block, luma, place(block));
                }
            }
        }
        let to = 16 * (at[1] * planes.luma_stride + at[0]);
        write::<16>(luma, &mut planes.luma[to..], planes.luma_stride);

        let stride = planes.luma_stride / 2;
        let length = planes.chroma.len() / 2;
        for (plane, square) in chroma.iter_mut().enumerate() {
            let above = &self.above[1 + plane];
            start::<8>(square, above, at);
            chroma_square(square, macroblock.chroma, sides, residuals, 16 + 4 * plane);
            let to = plane * length + 8 * (at[1] * stride + at[0]);
            write::<8>(square, &mut planes.chroma[to..], stride);
        }
    }

    /// Keeps the last row of samples for the next row of macroblocks.
    pub(super) fn end_row(&mut self, row: usize, planes: &YuvPlanes) {
        let [luma, chroma @ ..] = &mut self.above;
        let stride = planes.luma_stride;
        luma.copy_from_slice(&planes.luma[(16 * row + 15) * stride..][..stride]);
        let (stride, length) = (stride / 2, planes.chroma.len() / 2);
        for (plane, above) in chroma.iter_mut().enumerate() {
            let from = plane * length + (8 * row + 7) * stride;
            above.copy_from_slice(&planes.chroma[from..][..stride]);
        }
    }
}

#[inline(always)]
fn chroma_square(
    square: &mut Square,
    mode: Mode,
    sides: Sides,
    residuals: &Residuals,
    first: usize,
) {
    predict::<8>(square, mode, sides);
    for block in 0..4 {
        let at = ORIGIN + block / 2 * 4 * STRIDE + block % 2 * 4;
        add(residuals, first + block, square, at);
    }
}

/// The first sample of a luma block.
#[inline(always)]
fn place(block: usize) -> usize {
    ORIGIN + block / 4 * 4 * STRIDE + block % 4 * 4
}

/// Fills the border of a square of `N` x `N` samples, which still has the samples of
/// the macroblock on the left.
#[inline(always)]
fn start<const N: usize>(square: &mut Square, above: &[u8], [column, row]: [usize; 2]) {
    for y in 0..N {
        let at = ORIGIN + y * STRIDE;
        square[at - 1] = if column > 0 { square[at + N - 1] } else { LEFT };
    }
    let top = ORIGIN - STRIDE;
    square[top - 1] = match [column, row] {
        [_, 0] => ABOVE,
        [0, _] => LEFT,
        _ => above[column * N - 1],
    };
    square[top..][..N].copy_from_slice(&above[column * N..][..N]);
}

/// Writes the four samples above and to the right of a macroblock. All blocks in its
/// last column use them.
#[inline(always)]
fn repeat_above_right(square: &mut Square, above: &[u8], [column, _]: [usize; 2]) {
    let next = above[16 * column + 15..].get(1..5);
    let last = above[16 * column + 15];
    let samples = next.map_or([last; 4], |next| std::array::from_fn(|i| next[i]));
    for y in [0, 4, 8, 12] {
        square[ORIGIN + y * STRIDE - STRIDE + 16..][..4].copy_from_slice(&samples);
    }
}

/// Adds the content of a block to its prediction.
#[inline(always)]
fn add(residuals: &Residuals, block: usize, square: &mut Square, at: usize) {
    let coefficients = &residuals.blocks[block];
    match residuals.contents[block] {
        Content::Nothing => {}
        Content::Mean => add_mean(coefficients[0], &mut square[at..], STRIDE),
        Content::All => add_block(coefficients, &mut square[at..], STRIDE),
    }
}

/// Copies the samples of a square to a plane.
#[inline(always)]
fn write<const N: usize>(square: &Square, to: &mut [u8], stride: usize) {
    let rows = square[ORIGIN..].chunks(STRIDE);
    for (to, from) in to.chunks_mut(stride).zip(rows).take(N) {
        to[..N].copy_from_slice(&from[..N]);
    }
}
