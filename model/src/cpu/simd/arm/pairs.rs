//! The inner loop of a convolution with products of matrices. A register has two words
//! of two pixels, or two words of two output channels. One instruction multiplies two
//! such registers and adds the products to the sums of 2x2 pixels and channels.

use std::arch::aarch64::*;

use super::products;
use crate::cpu::micro::PIXELS;
use crate::cpu::run::Run;

/// Vectors of output channels in a register tile.
const VECTORS: usize = 2;

/// Registers of sums for the channels of a vector, for two pixels.
const BLOCKS: usize = 4;

/// The sums of two pixels.
type Sums = [float32x4_t; VECTORS * BLOCKS];

/// The product of two matrices, added to their sums.
pub(super) trait MatrixProduct {
    /// # Safety
    /// The CPU must have the instruction.
    unsafe fn add(sums: float32x4_t, x: float32x4_t, w: float32x4_t) -> float32x4_t;
}

/// Bytes of a feature map times 8-bit weights.
pub(super) struct Int8;

/// bf16.
pub(super) struct Bf16;

impl MatrixProduct for Int8 {
    #[inline(always)]
    unsafe fn add(sums: float32x4_t, x: float32x4_t, w: float32x4_t) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { products::usmmla(sums, x, w) }
    }
}

impl MatrixProduct for Bf16 {
    #[inline(always)]
    unsafe fn add(sums: float32x4_t, x: float32x4_t, w: float32x4_t) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { products::bfmmla(sums, x, w) }
    }
}

/// The sums of `P` pixels and `V` vectors of output channels.
///
/// ```text
/// for run in runs { for k in (0..run.len).step_by(2) {
///     for i in 0..P / 2 { for j in 0..4 * V {
///         sums[i][j] += (pixels 2i and 2i + 1, words k and k + 1) * (channels 2j and 2j + 1, the same words)
///     }}
/// }}
/// ```
///
/// In the last pair of an odd run, the second word is zero.
///
/// # Safety
/// As for [`crate::cpu::micro::multiply`].
#[inline(always)]
pub(super) unsafe fn multiply<D: MatrixProduct, const P: usize, const V: usize>(
    corners: &[*const f32; P],
    runs: &[Run],
    row: usize,
    mut weights: *const f32,
) -> [[[float32x4_t; 2]; V]; P] {
    // SAFETY: the caller guarantees that every address is valid.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); VECTORS * BLOCKS]; PIXELS / 2];
        for run in runs {
            let mut from = *corners;
            for pointer in &mut from {
                *pointer = pointer.byte_add(run.row * row).add(run.start);
            }
            let whole = run.len / 2 * 2;
            for k in (0..whole).step_by(2) {
                let x = pixels::<P>(|p| vld1_f32(from[p].add(k)));
                step::<D, P, V>(&x, weights, &mut sums);
                weights = weights.add(V * BLOCKS * 4);
            }
            if whole < run.len {
                let zeros = vdup_n_f32(0.0);
                let word = |p: usize| from[p].add(whole).read_unaligned();
                let x = pixels::<P>(|p| vset_lane_f32::<0>(word(p), zeros));
                step::<D, P, V>(&x, weights, &mut sums);
                weights = weights.add(V * BLOCKS * 4);
            }
        }
        std::array::from_fn(|p| std::array::from_fn(|v| of_pixel(&sums[p / 2], p % 2, v)))
    }
}

/// Two words of each pixel, two pixels in a register. With an odd number of pixels, the
/// second half of the last register is zero.
#[inline(always)]
unsafe fn pixels<const P: usize>(
    words: impl Fn(usize) -> float32x2_t,
) -> [float32x4_t; PIXELS / 2] {
    // SAFETY: NEON is part of every instruction set of this module.
    unsafe {
        let mut x = [vdupq_n_f32(0.0); PIXELS / 2];
        for i in 0..P.div_ceil(2) {
            let second = if 2 * i + 1 < P {
                words(2 * i + 1)
            } else {
                vdup_n_f32(0.0)
            };
            x[i] = vcombine_f32(words(2 * i), second);
        }
        x
    }
}

/// Adds the products of two rows of weights.
#[inline(always)]
unsafe fn step<D: MatrixProduct, const P: usize, const V: usize>(
    x: &[float32x4_t; PIXELS / 2],
    weights: *const f32,
    sums: &mut [Sums; PIXELS / 2],
) {
    for j in 0..V * BLOCKS {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let w = vld1q_f32(weights.add(4 * j));
            for i in 0..P.div_ceil(2) {
                sums[i][j] = D::add(sums[i][j], x[i], w);
            }
        }
    }
}

/// The vector `v` of the sums of one of two pixels.
#[inline(always)]
unsafe fn of_pixel(sums: &Sums, pixel: usize, v: usize) -> [float32x4_t; 2] {
    // SAFETY: NEON is part of every instruction set of this module.
    unsafe {
        let block = |j: usize| vreinterpretq_f64_f32(sums[v * BLOCKS + j]);
        let join = |j: usize| {
            vreinterpretq_f32_f64(match pixel {
                0 => vzip1q_f64(block(j), block(j + 1)),
                _ => vzip2q_f64(block(j), block(j + 1)),
            })
        };
        [join(0), join(2)]
    }
}
