//! AVX2 with FMA, optionally with AVX-VNNI.

// SAFETY of every body below: the safety contract of the trait.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use crate::cpu::simd::Simd;

/// 8 words.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

/// 8 words, with 8-bit integer dot products.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(__m256);

/// Rounds floats to bf16, in the high half of each word. NaN stays NaN.
#[inline(always)]
unsafe fn round_256(x: __m256) -> __m256i {
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
        let none = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        _mm256_blendv_epi8(_mm256_add_epi32(bits, half), quiet, none)
    }
}

macro_rules! avx2 {
    () => {
        floats!(
            8,
            _mm256_set1_ps,
            _mm256_loadu_ps,
            _mm256_storeu_ps,
            _mm256_fmadd_ps,
            _mm256_add_ps,
            _mm256_sub_ps,
            _mm256_mul_ps,
            _mm256_max_ps
        );

        const PERMUTES: bool = true;

        #[inline(always)]
        unsafe fn load_first(from: *const f32, words: usize) -> Self {
            unsafe {
                let positions = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(words as i32), positions);
                Self(_mm256_maskload_ps(from, mask))
            }
        }

        #[inline(always)]
        unsafe fn permute(self, order: Self) -> Self {
            unsafe {
                let order = _mm256_castps_si256(order.0);
                Self(_mm256_permutevar8x32_ps(self.0, order))
            }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            unsafe {
                let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                Self(_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)))
            }
        }

        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            unsafe {
                let words = _mm256_srli_epi32(round_256(self.0), 16);
                let (low, high) = (
                    _mm256_castsi256_si128(words),
                    _mm256_extracti128_si256(words, 1),
                );
                _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, high));
            }
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> Self {
            unsafe {
                let words = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
                Self(_mm256_cvtepi32_ps(words))
            }
        }

        #[inline(always)]
        unsafe fn store_u8(self, to: *mut u8) {
            unsafe {
                let words = _mm256_cvtps_epi32(self.0);
                let (low, high) = (
                    _mm256_castsi256_si128(words),
                    _mm256_extracti128_si256(words, 1),
                );
                let shorts = _mm_packs_epi32(low, high);
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(shorts, shorts));
            }
        }

        #[inline(always)]
        unsafe fn low_bf16(self) -> Self {
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                Self(_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)))
            }
        }

        #[inline(always)]
        unsafe fn high_bf16(self) -> Self {
            unsafe {
                let mask = _mm256_castsi256_ps(_mm256_set1_epi32(-65536));
                Self(_mm256_and_ps(self.0, mask))
            }
        }

        #[inline(always)]
        unsafe fn high_halves(low: Self, high: Self) -> Self {
            unsafe {
                let low = _mm256_srli_epi32(_mm256_castps_si256(low.0), 16);
                let high = _mm256_castps_si256(high.0);
                Self(_mm256_castsi256_ps(_mm256_blend_epi16(
                    low,
                    high,
                    0b1010_1010,
                )))
            }
        }

        #[inline(always)]
        unsafe fn pair_bf16(low: Self, high: Self) -> Self {
            unsafe {
                let (low, high) = (round_256(low.0), round_256(high.0));
                Self::high_halves(
                    Self(_mm256_castsi256_ps(low)),
                    Self(_mm256_castsi256_ps(high)),
                )
            }
        }

        #[inline(always)]
        unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self {
            unsafe {
                let low = self.low_bf16().mul_add(w.low_bf16(), sum);
                self.high_bf16().mul_add(w.high_bf16(), low)
            }
        }

        #[inline(always)]
        unsafe fn i32_as_floats(self) -> Self {
            unsafe { Self(_mm256_cvtepi32_ps(_mm256_castps_si256(self.0))) }
        }

        #[inline(always)]
        unsafe fn max_u8(self, b: Self) -> Self {
            unsafe {
                let (x, y) = (_mm256_castps_si256(self.0), _mm256_castps_si256(b.0));
                Self(_mm256_castsi256_ps(_mm256_max_epu8(x, y)))
            }
        }
    };
}

impl Simd for Avx2 {
    avx2!();

    /// Exact: even and odd bytes are multiplied separately as 16-bit integers,
    /// so no product saturates.
    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        unsafe {
            let (x, w) = (_mm256_castps_si256(self.0), _mm256_castps_si256(w.0));
            let x_even = _mm256_and_si256(x, _mm256_set1_epi16(0xFF));
            let w_even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
            let even = _mm256_madd_epi16(x_even, w_even);
            let odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
            let sum = _mm256_add_epi32(_mm256_castps_si256(sum.0), even);
            Self(_mm256_castsi256_ps(_mm256_add_epi32(sum, odd)))
        }
    }
}

impl Simd for AvxVnni {
    avx2!();

    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        unsafe {
            let (x, w) = (_mm256_castps_si256(self.0), _mm256_castps_si256(w.0));
            let sum = _mm256_castps_si256(sum.0);
            Self(_mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(sum, x, w)))
        }
    }
}
