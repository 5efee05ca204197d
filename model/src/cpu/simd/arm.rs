//! The vector types of 64-bit Arm: NEON, and NEON with instructions for products of
//! 8-bit integers and of bf16. A vector is two registers, so that a register tile has
//! the same shape as on AVX2.

// SAFETY of every body below: the safety contract of the trait.
#![allow(clippy::undocumented_unsafe_blocks)]

mod pairs;
mod products;

use std::arch::aarch64::*;

use crate::cpu::run::Run;
use crate::cpu::simd::Simd;

/// 8 words.
#[derive(Clone, Copy)]
pub(crate) struct Neon([float32x4_t; 2]);

/// 8 words, with dot products of 8-bit integers.
#[derive(Clone, Copy)]
pub(crate) struct NeonDot([float32x4_t; 2]);

/// 8 words, with products of matrices of 8-bit integers.
#[derive(Clone, Copy)]
pub(crate) struct NeonI8mm([float32x4_t; 2]);

/// 8 words, with products of matrices of bf16.
#[derive(Clone, Copy)]
pub(crate) struct NeonBf16([float32x4_t; 2]);

/// Rounds floats to bf16, in the high half of each word. NaN stays NaN.
#[inline(always)]
unsafe fn round(x: float32x4_t) -> uint32x4_t {
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vbslq_u32(vceqq_f32(x, x), rounded, quiet)
    }
}

/// The low bf16 of each word.
#[inline(always)]
unsafe fn low(x: float32x4_t) -> float32x4_t {
    unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(x))) }
}

/// The high bf16 of each word.
#[inline(always)]
unsafe fn high(x: float32x4_t) -> float32x4_t {
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        vreinterpretq_f32_u32(vandq_u32(bits, vdupq_n_u32(0xFFFF_0000)))
    }
}

/// The same operation on both registers.
macro_rules! both {
    ($i:ident => $body:expr) => {
        unsafe {
            Self([
                {
                    const $i: usize = 0;
                    $body
                },
                {
                    const $i: usize = 1;
                    $body
                },
            ])
        }
    };
}

macro_rules! neon {
    () => {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Self([vdupq_n_f32(x); 2]) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            both!(I => vld1q_f32(from.add(4 * I)))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                vst1q_f32(to, self.0[0]);
                vst1q_f32(to.add(4), self.0[1]);
            }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            both!(I => vfmaq_f32(c.0[I], self.0[I], b.0[I]))
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            both!(I => vaddq_f32(self.0[I], b.0[I]))
        }

        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            both!(I => vsubq_f32(self.0[I], b.0[I]))
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            both!(I => vmulq_f32(self.0[I], b.0[I]))
        }

        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            both!(I => vmaxq_f32(self.0[I], b.0[I]))
        }

        /// The word is word 0 of each register, where the products read it.
        #[inline(always)]
        unsafe fn load_word(from: *const f32) -> Self {
            unsafe { Self([vsetq_lane_f32::<0>(from.read_unaligned(), vdupq_n_f32(0.0)); 2]) }
        }

        #[inline(always)]
        unsafe fn mul_add_word(self, w: Self, sum: Self) -> Self {
            both!(I => vfmaq_laneq_f32::<0>(sum.0[I], w.0[I], self.0[0]))
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            both!(I => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * I)))))
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> Self {
            unsafe {
                let shorts = vmovl_u8(vld1_u8(from));
                let (low, high) = (vmovl_u16(vget_low_u16(shorts)), vmovl_high_u16(shorts));
                Self([vcvtq_f32_u32(low), vcvtq_f32_u32(high)])
            }
        }

        #[inline(always)]
        unsafe fn store_u8(self, to: *mut u8) {
            unsafe {
                let words = self.0.map(|x| vcvtnq_s32_f32(x));
                let shorts = vcombine_s16(vqmovn_s32(words[0]), vqmovn_s32(words[1]));
                vst1_u8(to, vqmovun_s16(shorts));
            }
        }

        #[inline(always)]
        unsafe fn low_bf16(self) -> Self {
            both!(I => low(self.0[I]))
        }

        #[inline(always)]
        unsafe fn high_bf16(self) -> Self {
            both!(I => high(self.0[I]))
        }

        #[inline(always)]
        unsafe fn high_halves(low: Self, high: Self) -> Self {
            both!(I => {
                let (low, high) = (vreinterpretq_u32_f32(low.0[I]), vreinterpretq_u32_f32(high.0[I]));
                vreinterpretq_f32_u32(vsriq_n_u32::<16>(high, low))
            })
        }

        #[inline(always)]
        unsafe fn pair_bf16(low: Self, high: Self) -> Self {
            both!(I => vreinterpretq_f32_u32(vsriq_n_u32::<16>(round(high.0[I]), round(low.0[I]))))
        }

        #[inline(always)]
        unsafe fn i32_as_floats(self) -> Self {
            both!(I => vcvtq_f32_s32(vreinterpretq_s32_f32(self.0[I])))
        }

        #[inline(always)]
        unsafe fn max_u8(self, b: Self) -> Self {
            both!(I => {
                let (x, y) = (vreinterpretq_u8_f32(self.0[I]), vreinterpretq_u8_f32(b.0[I]));
                vreinterpretq_f32_u8(vmaxq_u8(x, y))
            })
        }
    };
}

/// bf16 with shifts and f32 arithmetic.
macro_rules! without_bf16 {
    () => {
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            unsafe {
                vst1_u16(to, vshrn_n_u32::<16>(round(self.0[0])));
                vst1_u16(to.add(4), vshrn_n_u32::<16>(round(self.0[1])));
            }
        }

        #[inline(always)]
        unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self {
            both!(I => {
                let sum = vfmaq_laneq_f32::<0>(sum.0[I], low(w.0[I]), low(self.0[0]));
                vfmaq_laneq_f32::<0>(sum, high(w.0[I]), high(self.0[0]))
            })
        }
    };
}

impl Simd for Neon {
    neon!();
    without_bf16!();

    /// Exact: a product of u8 and i8 fits in 16 bits. A sum of two products may not, so
    /// the sums have 32 bits.
    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        both!(I => {
            let x = vdup_laneq_u32::<0>(vreinterpretq_u32_f32(self.0[0]));
            let x = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(x)));
            let w = vreinterpretq_s8_f32(w.0[I]);
            let low = vpaddlq_s16(vmulq_s16(x, vmovl_s8(vget_low_s8(w))));
            let high = vpaddlq_s16(vmulq_s16(x, vmovl_high_s8(w)));
            let sum = vreinterpretq_s32_f32(sum.0[I]);
            vreinterpretq_f32_s32(vaddq_s32(sum, vpaddq_s32(low, high)))
        })
    }
}

/// What the instruction sets with I8MM share: the dot products of 8-bit integers, and
/// products of matrices of the elements `$elements`.
macro_rules! with_i8mm {
    ($elements:ident) => {
        #[inline(always)]
        unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
            both!(I => products::sudot(sum.0[I], w.0[I], self.0[0]))
        }

        const PAIRS: bool = true;

        #[inline(always)]
        unsafe fn multiply_pairs<const P: usize, const V: usize>(
            corners: &[*const f32; P],
            runs: &[Run],
            row: usize,
            weights: *const f32,
        ) -> [[Self; V]; P] {
            unsafe { pairs::multiply::<pairs::$elements, P, V>(corners, runs, row, weights) }
                .map(|pixel| pixel.map(Self))
        }
    };
}

impl Simd for NeonDot {
    neon!();
    without_bf16!();

    const SIGNED_INT8: bool = true;

    /// The exclusive or subtracts 128: u8 becomes i8.
    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        both!(I => {
            let x = veorq_u32(vreinterpretq_u32_f32(self.0[0]), vdupq_n_u32(0x8080_8080));
            products::sdot(sum.0[I], w.0[I], vreinterpretq_f32_u32(x))
        })
    }
}

impl Simd for NeonI8mm {
    neon!();
    without_bf16!();

    with_i8mm!(Int8);
}

impl Simd for NeonBf16 {
    neon!();

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe { vst1q_u16(to, products::bfcvt(self.0)) }
    }

    #[inline(always)]
    unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self {
        both!(I => products::bfdot(sum.0[I], w.0[I], self.0[0]))
    }

    // 8-bit kernels are compiled for `NeonI8mm`.
    with_i8mm!(Bf16);
}
