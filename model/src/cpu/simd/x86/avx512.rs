//! AVX-512, with and without VNNI and BF16.

// SAFETY of every body below: the safety contract of the trait.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use crate::cpu::simd::{self, Simd};

/// 16 words.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

/// 16 words, with 8-bit integer dot products.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(__m512);

/// 16 words, with 8-bit integer and bf16 dot products.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(__m512);

/// Rounds floats to bf16, in the high half of each word. NaN stays NaN.
#[inline(always)]
unsafe fn round_512(x: __m512) -> __m512i {
    unsafe {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
        let none = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
        let rounded = _mm512_add_epi32(bits, half);
        _mm512_mask_or_epi32(rounded, none, bits, _mm512_set1_epi32(0x0040_0000))
    }
}

macro_rules! avx512 {
    ($vector:ident) => {
        floats!(
            16,
            _mm512_set1_ps,
            _mm512_loadu_ps,
            _mm512_storeu_ps,
            _mm512_fmadd_ps,
            _mm512_add_ps,
            _mm512_sub_ps,
            _mm512_mul_ps,
            _mm512_max_ps
        );

        const PERMUTES: bool = true;

        #[inline(always)]
        unsafe fn load_first(from: *const f32, words: usize) -> Self {
            unsafe {
                let mask = ((1_u32 << words.min(16)) - 1) as __mmask16;
                Self(_mm512_maskz_loadu_ps(mask, from))
            }
        }

        #[inline(always)]
        unsafe fn permute(self, order: Self) -> Self {
            unsafe {
                let order = _mm512_castps_si512(order.0);
                Self(_mm512_permutexvar_ps(order, self.0))
            }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            unsafe {
                let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                Self(_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)))
            }
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> Self {
            unsafe {
                let words = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
                Self(_mm512_cvtepi32_ps(words))
            }
        }

        #[inline(always)]
        unsafe fn store_u8(self, to: *mut u8) {
            unsafe {
                let words = _mm512_max_epi32(_mm512_cvtps_epi32(self.0), _mm512_setzero_si512());
                _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(words));
            }
        }

        /// Packs four vectors into one. The pack instructions interleave within
        /// 128-bit lanes; a permutation restores the order.
        #[inline(always)]
        unsafe fn store_u8s<const V: usize>(vectors: [Self; V], to: *mut u8) {
            unsafe {
                if V != 4 {
                    return simd::store_u8s(vectors, to);
                }
                let words = |v: usize| _mm512_cvtps_epi32(vectors[v].0);
                let low = _mm512_packs_epi32(words(0), words(1));
                let high = _mm512_packs_epi32(words(2), words(3));
                let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
                let bytes = _mm512_packus_epi16(low, high);
                _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi32(order, bytes));
            }
        }

        #[inline(always)]
        unsafe fn low_bf16(self) -> Self {
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                Self(_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)))
            }
        }

        #[inline(always)]
        unsafe fn high_bf16(self) -> Self {
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                let high = _mm512_and_si512(bits, _mm512_set1_epi32(-65536));
                Self(_mm512_castsi512_ps(high))
            }
        }

        #[inline(always)]
        unsafe fn high_halves(low: Self, high: Self) -> Self {
            unsafe {
                let low = _mm512_srli_epi32(_mm512_castps_si512(low.0), 16);
                let high = _mm512_castps_si512(high.0);
                let words = _mm512_mask_blend_epi16(0xAAAA_AAAA, low, high);
                Self(_mm512_castsi512_ps(words))
            }
        }

        #[inline(always)]
        unsafe fn i32_as_floats(self) -> Self {
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_castps_si512(self.0))) }
        }

        #[inline(always)]
        unsafe fn max_u8(self, b: Self) -> Self {
            unsafe {
                let (x, y) = (_mm512_castps_si512(self.0), _mm512_castps_si512(b.0));
                Self(_mm512_castsi512_ps(_mm512_max_epu8(x, y)))
            }
        }
    };
}

/// bf16 emulated with shifts and f32 arithmetic.
macro_rules! avx512_without_bf16 {
    () => {
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            unsafe {
                let words = _mm512_srli_epi32(round_512(self.0), 16);
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(words));
            }
        }

        #[inline(always)]
        unsafe fn pair_bf16(low: Self, high: Self) -> Self {
            unsafe {
                let (low, high) = (round_512(low.0), round_512(high.0));
                Self::high_halves(
                    Self(_mm512_castsi512_ps(low)),
                    Self(_mm512_castsi512_ps(high)),
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
    };
}

macro_rules! avx512_vnni {
    () => {
        #[inline(always)]
        unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
            unsafe {
                let (x, w) = (_mm512_castps_si512(self.0), _mm512_castps_si512(w.0));
                let sum = _mm512_castps_si512(sum.0);
                Self(_mm512_castsi512_ps(_mm512_dpbusd_epi32(sum, x, w)))
            }
        }
    };
}

impl Simd for Avx512 {
    avx512!(Avx512);
    avx512_without_bf16!();

    /// Exact, as for AVX2.
    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        unsafe {
            let (x, w) = (_mm512_castps_si512(self.0), _mm512_castps_si512(w.0));
            let x_even = _mm512_and_si512(x, _mm512_set1_epi16(0xFF));
            let w_even = _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8);
            let even = _mm512_madd_epi16(x_even, w_even);
            let odd = _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(w, 8));
            let sum = _mm512_add_epi32(_mm512_castps_si512(sum.0), even);
            Self(_mm512_castsi512_ps(_mm512_add_epi32(sum, odd)))
        }
    }
}

impl Simd for Avx512Vnni {
    avx512!(Avx512Vnni);
    avx512_without_bf16!();
    avx512_vnni!();
}

impl Simd for Avx512Bf16 {
    avx512!(Avx512Bf16);
    avx512_vnni!();

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe {
            let halves: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(self.0));
            _mm256_storeu_si256(to.cast(), halves);
        }
    }

    /// Converts two vectors per instruction.
    #[inline(always)]
    unsafe fn store_bf16s<const V: usize>(vectors: [Self; V], to: *mut u16) {
        unsafe {
            if !V.is_multiple_of(2) {
                return simd::store_bf16s(vectors, to);
            }
            for v in (0..V).step_by(2) {
                let (low, high) = (vectors[v].0, vectors[v + 1].0);
                let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.add(v * Self::LANES).cast(), halves);
            }
        }
    }

    #[inline(always)]
    unsafe fn pair_bf16(low: Self, high: Self) -> Self {
        unsafe {
            // The conversion puts `low` in the lower 16 halves and `high` in
            // the upper 16; the permutation interleaves them.
            let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high.0, low.0));
            let order: [u16; 32] = INTERLEAVED;
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            Self(_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves)))
        }
    }

    #[inline(always)]
    unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self {
        unsafe {
            let x: __m512bh = std::mem::transmute(self.0);
            let w: __m512bh = std::mem::transmute(w.0);
            Self(_mm512_dpbf16_ps(sum.0, x, w))
        }
    }
}

/// The permutation 0, 16, 1, 17, ...
const INTERLEAVED: [u16; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 16 {
        order[2 * i] = i as u16;
        order[2 * i + 1] = i as u16 + 16;
        i += 1;
    }
    order
};
