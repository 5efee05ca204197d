//! The inverse DCT with AVX2: eight columns at once, a transposition, then eight
//! rows at once. It uses intrinsics because the compiler does not vectorise the
//! transposition.

use std::arch::x86_64::*;

use crate::decode::jpeg::idct::{Arithmetic, Idct, LEVEL_SHIFT, SHIFTS, transform};

/// The inverse DCT with AVX2 instructions.
pub(crate) struct Avx2Idct;

/// A vector of eight `i32`. Only [`dequantize`] creates vectors, and its caller
/// guarantees that the CPU supports AVX2. The existence of a value therefore
/// proves that AVX2 instructions may be used.
#[derive(Clone, Copy)]
struct I32x8(__m256i);

impl Idct for Avx2Idct {
    #[inline(always)]
    unsafe fn idct(block: &[i16; 64], quantization: &[i32; 64], out: &mut [u8], stride: usize) {
        // SAFETY: the caller guarantees AVX2.
        let rows = unsafe { dequantize(block, quantization) };
        let points = transform::<{ SHIFTS[0] }, _>(rows);
        let columns = transform::<{ SHIFTS[1] }, _>(transpose(points));
        let out = &mut out[..7 * stride + 8];
        for (x, column) in samples(columns).iter().enumerate() {
            out[x * stride..][..8].copy_from_slice(column);
        }
    }
}

/// The rows of a block, multiplied by the quantisation table.
///
/// # Safety
/// The CPU must support AVX2.
#[inline(always)]
unsafe fn dequantize(block: &[i16; 64], quantization: &[i32; 64]) -> [I32x8; 8] {
    // SAFETY: the caller guarantees AVX2. Row `v` is the elements 8 * v to
    // 8 * v + 7 of arrays of at least 64 elements.
    unsafe {
        let mut rows = [I32x8(_mm256_setzero_si256()); 8];
        for (v, row) in rows.iter_mut().enumerate() {
            let narrow = _mm_loadu_si128(block.as_ptr().add(8 * v).cast());
            let factors = _mm256_loadu_si256(quantization.as_ptr().add(8 * v).cast());
            row.0 = _mm256_mullo_epi32(_mm256_cvtepi16_epi32(narrow), factors);
        }
        rows
    }
}

impl Arithmetic for I32x8 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: an `I32x8` exists, so the CPU supports AVX2.
        unsafe { Self(_mm256_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_sub_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    fn mul(self, factor: i32) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_mullo_epi32(self.0, _mm256_set1_epi32(factor))) }
    }

    #[inline(always)]
    fn shift_right_rounded<const BITS: i32>(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let half = _mm256_set1_epi32(1 << (BITS - 1));
            Self(_mm256_srai_epi32::<BITS>(_mm256_add_epi32(self.0, half)))
        }
    }
}

/// Transposes a matrix of 8 x 8.
#[inline(always)]
fn transpose(rows: [I32x8; 8]) -> [I32x8; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let mut columns = rows;
    // SAFETY: an `I32x8` exists, so the CPU supports AVX2.
    unsafe {
        // interleave two rows within each 128-bit half
        let ab = [
            _mm256_unpacklo_epi32(a.0, b.0),
            _mm256_unpackhi_epi32(a.0, b.0),
        ];
        let cd = [
            _mm256_unpacklo_epi32(c.0, d.0),
            _mm256_unpackhi_epi32(c.0, d.0),
        ];
        let ef = [
            _mm256_unpacklo_epi32(e.0, f.0),
            _mm256_unpackhi_epi32(e.0, f.0),
        ];
        let gh = [
            _mm256_unpacklo_epi32(g.0, h.0),
            _mm256_unpackhi_epi32(g.0, h.0),
        ];
        for i in 0..2 {
            // four elements of two columns; the columns four further on are in
            // the high halves
            let top = [
                _mm256_unpacklo_epi64(ab[i], cd[i]),
                _mm256_unpackhi_epi64(ab[i], cd[i]),
            ];
            let bottom = [
                _mm256_unpacklo_epi64(ef[i], gh[i]),
                _mm256_unpackhi_epi64(ef[i], gh[i]),
            ];
            for j in 0..2 {
                let x = 2 * i + j;
                columns[x] = I32x8(_mm256_permute2x128_si256::<0x20>(top[j], bottom[j]));
                columns[x + 4] = I32x8(_mm256_permute2x128_si256::<0x31>(top[j], bottom[j]));
            }
        }
    }
    columns
}

/// Adds the level shift and saturates to 0..=255.
#[inline(always)]
fn samples(columns: [I32x8; 8]) -> [[u8; 8]; 8] {
    // SAFETY: an `I32x8` exists, so the CPU supports AVX2. Two vectors of 32
    // bytes have the size of the result.
    unsafe {
        let shift = _mm256_set1_epi16(LEVEL_SHIFT);
        // Packing works within 128-bit halves: it yields four bytes each of the
        // columns a, b, c, d, a, b, c, d.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let mut bytes = [_mm256_setzero_si256(); 2];
        for (bytes, &[a, b, c, d]) in bytes.iter_mut().zip(columns.as_chunks::<4>().0) {
            let ab = _mm256_adds_epi16(_mm256_packs_epi32(a.0, b.0), shift);
            let cd = _mm256_adds_epi16(_mm256_packs_epi32(c.0, d.0), shift);
            *bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order);
        }
        std::mem::transmute::<[__m256i; 2], [[u8; 8]; 8]>(bytes)
    }
}
