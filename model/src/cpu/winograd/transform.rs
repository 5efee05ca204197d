//! The transforms of Winograd F(4x4, 3x3) (Lavin & Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2015): a tile of 4x4 outputs takes 36
//! multiplications per channel instead of 144.
//!
//! ```text
//! Y = A' [ (G g G') * (B' d B) ] A,   d [6, 6] inputs, g [3, 3] weights, Y [4, 4] outputs
//! ```
//!
//! The interpolation points are 0, +-1/sqrt(2), +-sqrt(2) and infinity. Their
//! squares are 1/2 and 2, reciprocals of each other, which keeps rounding
//! errors within twice those of the direct sum (four times with the usual
//! points 0, +-1, +-2).

use std::f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};

use crate::cpu::simd::Simd;

/// Height and width of an input tile.
pub(crate) const INPUT_TILE: usize = 6;
/// Points of the transform: multiplications per channel and tile.
pub(crate) const POINTS: usize = INPUT_TILE * INPUT_TILE;
/// Height and width of an output tile.
pub(crate) const OUTPUT_TILE: usize = 4;

/// `B' d`: the input transform in one dimension.
///
/// # Safety
/// The CPU must support `S`; likewise for all functions below.
#[inline(always)]
unsafe fn input_line<S: Simd>(d: [S; 6]) -> [S; 6] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (S::splat(A), S::splat(B));
        let (minus_a, minus_b) = (S::splat(-A), S::splat(-B));
        let (half, two, both) = (S::splat(-0.5), S::splat(-2.0), S::splat(-2.5));
        let (even_a, odd_a) = (d[2].mul_add(two, d[4]), d[1].mul_add(two, d[3]));
        let (even_b, odd_b) = (d[2].mul_add(half, d[4]), d[1].mul_add(half, d[3]));
        [
            d[2].mul_add(both, d[0].add(d[4])),
            odd_a.mul_add(a, even_a),
            odd_a.mul_add(minus_a, even_a),
            odd_b.mul_add(b, even_b),
            odd_b.mul_add(minus_b, even_b),
            d[3].mul_add(both, d[1].add(d[5])),
        ]
    }
}

/// `G g`: the weight transform in one dimension.
#[inline(always)]
unsafe fn weight_line<S: Simd>(g: [S; 3]) -> [S; 6] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let third = S::splat(-1.0 / 3.0);
        let (two_thirds, sixth) = (S::splat(-2.0 / 3.0), S::splat(1.0 / 6.0));
        let even_a = g[0].mul_add(two_thirds, g[2].mul(third));
        let even_b = g[0].mul_add(sixth, g[2].mul(S::splat(1.0 / 3.0)));
        [
            g[0],
            g[1].mul_add(S::splat(-A / 1.5), even_a),
            g[1].mul_add(S::splat(A / 1.5), even_a),
            g[1].mul_add(S::splat(B / 6.0), even_b),
            g[1].mul_add(S::splat(-B / 6.0), even_b),
            g[2],
        ]
    }
}

/// `A' m`: the output transform in one dimension.
#[inline(always)]
unsafe fn output_line<S: Simd>(m: [S; 6]) -> [S; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        let cubes = odd_a.mul_add(S::splat(A / 2.0), m[5]);
        [
            m[0].add(even_a).add(even_b),
            odd_a.mul_add(S::splat(A), odd_b.mul(S::splat(B))),
            even_a.mul_add(S::splat(0.5), even_b.mul(S::splat(2.0))),
            odd_b.mul_add(S::splat(2.0 * B), cubes),
        ]
    }
}

/// `B' d B` for one vector of channels. `load` returns `d[i][j]`, `put` receives
/// each point.
#[inline(always)]
pub(crate) unsafe fn input<S: Simd>(
    load: impl Fn(usize, usize) -> S,
    mut put: impl FnMut(usize, S),
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); INPUT_TILE]; INPUT_TILE];
        for j in 0..INPUT_TILE {
            let line = input_line(std::array::from_fn(|i| load(i, j)));
            for i in 0..INPUT_TILE {
                half[i][j] = line[i];
            }
        }
        for i in 0..INPUT_TILE {
            let line = input_line(half[i]);
            for j in 0..INPUT_TILE {
                put(i * INPUT_TILE + j, line[j]);
            }
        }
    }
}

/// `G g G'` for one vector of output channels. `load` returns tap `k`, `put`
/// receives each point.
#[inline(always)]
pub(crate) unsafe fn weights<S: Simd>(load: impl Fn(usize) -> S, mut put: impl FnMut(usize, S)) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); 3]; INPUT_TILE];
        for s in 0..3 {
            let line = weight_line(std::array::from_fn(|r| load(r * 3 + s)));
            for i in 0..INPUT_TILE {
                half[i][s] = line[i];
            }
        }
        for i in 0..INPUT_TILE {
            let line = weight_line(half[i]);
            for j in 0..INPUT_TILE {
                put(i * INPUT_TILE + j, line[j]);
            }
        }
    }
}

/// `A' m A` for one vector of output channels. Point `p` is at
/// `from + p * plane`.
#[inline(always)]
pub(crate) unsafe fn output<S: Simd>(
    from: *const f32,
    plane: usize,
) -> [[S; OUTPUT_TILE]; OUTPUT_TILE] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); INPUT_TILE]; OUTPUT_TILE];
        for j in 0..INPUT_TILE {
            let mut line = [S::splat(0.0); INPUT_TILE];
            for i in 0..INPUT_TILE {
                line[i] = S::load(from.add((i * INPUT_TILE + j) * plane));
            }
            let line = output_line(line);
            for i in 0..OUTPUT_TILE {
                half[i][j] = line[i];
            }
        }
        let mut result = [[S::splat(0.0); OUTPUT_TILE]; OUTPUT_TILE];
        for i in 0..OUTPUT_TILE {
            result[i] = output_line(half[i]);
        }
        result
    }
}
