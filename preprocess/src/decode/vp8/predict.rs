//! The prediction of samples from those above and on the left (RFC 6386, 12). It works
//! on a square of samples with a border: the row above and the column on the left.

use super::modes::{BlockMode, Mode};

/// Samples from one row to the next.
pub(super) const STRIDE: usize = 32;

/// The first sample of a square: below the row above, after the column on the left.
pub(super) const ORIGIN: usize = STRIDE + 8;

/// Samples of a square of at most 16 x 16 with its border. Above, four samples more
/// follow on the right.
pub(super) type Square = [u8; STRIDE * 17];

/// Which sides of a macroblock are inside the image: above, and on the left.
pub(super) type Sides = [bool; 2];

/// Predicts all `N` x `N` samples.
#[inline(always)]
pub(super) fn predict<const N: usize>(square: &mut Square, mode: Mode, sides: Sides) {
    let above = above::<N>(square, ORIGIN);
    match mode {
        Mode::Mean => fill::<N>(square, mean::<N>(square, sides)),
        Mode::Vertical => rows::<N>(square).for_each(|row| *row = above),
        Mode::Horizontal => {
            for y in 0..N {
                let at = ORIGIN + y * STRIDE;
                let left = square[at - 1];
                square[at..][..N].fill(left);
            }
        }
        Mode::Gradient => gradient::<N>(square, ORIGIN),
    }
}

#[inline(always)]
fn rows<const N: usize>(square: &mut Square) -> impl Iterator<Item = &mut [u8; N]> {
    let rows = square[ORIGIN..].chunks_mut(STRIDE).take(N);
    rows.filter_map(|row| row.first_chunk_mut())
}

#[inline(always)]
fn fill<const N: usize>(square: &mut Square, value: u8) {
    rows::<N>(square).for_each(|row| *row = [value; N]);
}

/// The mean of the samples on the sides that are inside the image.
fn mean<const N: usize>(square: &Square, sides: Sides) -> u8 {
    let side = N as u32;
    let sum_above: u32 = above::<N>(square, ORIGIN).map(u32::from).iter().sum();
    let left = (0..N).map(|y| u32::from(square[ORIGIN + y * STRIDE - 1]));
    let sum_left: u32 = left.sum();
    let mean = match sides {
        [true, true] => (sum_above + sum_left + side) / (2 * side),
        [true, false] => (sum_above + side / 2) / side,
        [false, true] => (sum_left + side / 2) / side,
        [false, false] => 128,
    };
    mean as u8
}

#[inline(always)]
fn above<const N: usize>(square: &Square, at: usize) -> [u8; N] {
    let above = square[at - STRIDE..].first_chunk();
    above.copied().unwrap_or([0; N])
}

#[inline(always)]
fn gradient<const N: usize>(square: &mut Square, origin: usize) {
    let above = above::<N>(square, origin);
    let corner = i16::from(square[origin - STRIDE - 1]);
    for y in 0..N {
        let at = origin + y * STRIDE;
        let left = i16::from(square[at - 1]) - corner;
        if let Some(row) = square[at..].first_chunk_mut::<N>() {
            *row = above.map(|above| (i16::from(above) + left).clamp(0, 255) as u8);
        }
    }
}

fn mean_of_2(a: u8, b: u8) -> u8 {
    ((u16::from(a) + u16::from(b) + 1) >> 1) as u8
}

/// With the middle counted twice.
fn mean_of_3(a: u8, b: u8, c: u8) -> u8 {
    ((u16::from(a) + 2 * u16::from(b) + u16::from(c) + 2) >> 2) as u8
}

/// Predicts 4 x 4 luma samples at `at`.
#[inline(always)]
pub(super) fn predict_block(square: &mut Square, at: usize, mode: BlockMode) {
    if mode == BlockMode::Gradient {
        return gradient::<4>(square, at);
    }
    let above: [u8; 8] = above(square, at);
    let mut left = [0; 4];
    for (y, to) in left.iter_mut().enumerate() {
        *to = square[at + y * STRIDE - 1];
    }
    // From the lowest on the left over the corner to the last above.
    let mut edge = [0; 13];
    for i in 0..4 {
        edge[i] = left[3 - i];
    }
    edge[4] = square[at - STRIDE - 1];
    edge[5..].copy_from_slice(&above);
    let two = |i: usize| mean_of_2(edge[i], edge[i + 1]);
    // Around `i`.
    let three = |i: usize| mean_of_3(edge[i - 1], edge[i], edge[i + 1]);
    let last_left = mean_of_3(left[2], left[3], left[3]);
    let samples = match mode {
        BlockMode::Mean | BlockMode::Gradient => {
            let sum: u16 = above[..4].iter().chain(&left).map(|&s| u16::from(s)).sum();
            [[((sum + 4) >> 3) as u8; 4]; 4]
        }
        BlockMode::Vertical => grid(|x, _| three(5 + x)),
        BlockMode::Horizontal => grid(|_, y| if y == 3 { last_left } else { three(3 - y) }),
        BlockMode::LeftDown => grid(|x, y| match x + y {
            6 => mean_of_3(above[6], above[7], above[7]),
            i => three(6 + i),
        }),
        BlockMode::RightDown => grid(|x, y| three(4 + x - y)),
        BlockMode::VerticalRight => grid(|x, y| match (2 * x + 1).checked_sub(y) {
            None => three(5 - y),
            Some(i) if i % 2 == 1 => two(4 + i / 2),
            Some(i) => three(4 + i / 2),
        }),
        BlockMode::VerticalLeft => grid(|x, y| match (x, y) {
            (3, 2) => three(10),
            (3, 3) => three(11),
            _ if y % 2 == 0 => two(5 + x + y / 2),
            _ => three(6 + x + y / 2),
        }),
        BlockMode::HorizontalDown => grid(|x, y| match (2 * y + 1).checked_sub(x) {
            None => three(3 + x),
            Some(i) if i % 2 == 1 => two(3 - i / 2),
            Some(i) => three(4 - i / 2),
        }),
        BlockMode::HorizontalUp => grid(|x, y| match x + 2 * y {
            i @ (0 | 2 | 4) => mean_of_2(left[i / 2], left[i / 2 + 1]),
            i @ (1 | 3) => mean_of_3(left[i / 2], left[i / 2 + 1], left[i / 2 + 2]),
            5 => last_left,
            _ => left[3],
        }),
    };
    for (y, row) in samples.into_iter().enumerate() {
        if let Some(to) = square[at + y * STRIDE..].first_chunk_mut::<4>() {
            *to = row;
        }
    }
}

/// 4 x 4 samples from their coordinates.
#[inline(always)]
fn grid(sample: impl Fn(usize, usize) -> u8) -> [[u8; 4]; 4] {
    let mut samples = [[0; 4]; 4];
    for (y, row) in samples.iter_mut().enumerate() {
        for (x, to) in row.iter_mut().enumerate() {
            *to = sample(x, y);
        }
    }
    samples
}
