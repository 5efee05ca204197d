//! The inverse DCT with AVX2: eight columns at once, turned over, eight rows at
//! once. The compiler does not find the turning by itself.

use std::arch::x86_64::*;

use super::huffman::Block;
use super::islow::{DROPPED, Idct, Lanes, MIDDLE, transform};

/// The transform's way with AVX2.
pub(super) struct Avx2;

/// Eight numbers. They are made by [`rows`] alone, whose caller knows that the
/// processor has AVX2; so does whoever holds one.
#[derive(Clone, Copy)]
struct Eight(__m256i);

impl Idct for Avx2 {
    #[inline(always)]
    unsafe fn idct(block: &Block, quantization: &[i32; 64], out: &mut [u8], stride: usize) {
        // SAFETY: the caller promises AVX2.
        let rows = unsafe { rows(block, quantization) };
        let points = transform::<{ DROPPED[0] }, _>(rows);
        let columns = transform::<{ DROPPED[1] }, _>(turn(points));
        let out = &mut out[..7 * stride + 8];
        for (x, column) in samples(columns).iter().enumerate() {
            out[x * stride..][..8].copy_from_slice(column);
        }
    }
}

/// The rows of a block, times their quantisation.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn rows(block: &Block, quantization: &[i32; 64]) -> [Eight; 8] {
    // SAFETY: the caller promises AVX2; eight numbers are read from eight
    // times one below eight on.
    unsafe {
        let mut rows = [Eight(_mm256_setzero_si256()); 8];
        for (v, row) in rows.iter_mut().enumerate() {
            let narrow = _mm_loadu_si128(block.as_ptr().add(8 * v).cast());
            let factors = _mm256_loadu_si256(quantization.as_ptr().add(8 * v).cast());
            row.0 = _mm256_mullo_epi32(_mm256_cvtepi16_epi32(narrow), factors);
        }
        rows
    }
}

impl Lanes for Eight {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: an `Eight` is at hand, so there is AVX2.
        unsafe { Self(_mm256_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_sub_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_mullo_epi32(self.0, _mm256_set1_epi32(factor))) }
    }

    #[inline(always)]
    fn round<const BITS: i32>(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let half = _mm256_set1_epi32(1 << (BITS - 1));
            Self(_mm256_srai_epi32::<BITS>(_mm256_add_epi32(self.0, half)))
        }
    }
}

/// Rows become columns.
#[inline(always)]
fn turn(rows: [Eight; 8]) -> [Eight; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let mut columns = rows;
    // SAFETY: an `Eight` is at hand, so there is AVX2.
    unsafe {
        // pairs of two rows, per half
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
            // fours: two columns and, in the high halves, those four beyond
            let top = [
                _mm256_unpacklo_epi64(ab[i], cd[i]),
                _mm256_unpackhi_epi64(ab[i], cd[i]),
            ];
            let end = [
                _mm256_unpacklo_epi64(ef[i], gh[i]),
                _mm256_unpackhi_epi64(ef[i], gh[i]),
            ];
            for j in 0..2 {
                let x = 2 * i + j;
                columns[x] = Eight(_mm256_permute2x128_si256::<0x20>(top[j], end[j]));
                columns[x + 4] = Eight(_mm256_permute2x128_si256::<0x31>(top[j], end[j]));
            }
        }
    }
    columns
}

/// The middle added, in 0..=255.
#[inline(always)]
fn samples(columns: [Eight; 8]) -> [[u8; 8]; 8] {
    // SAFETY: an `Eight` is at hand, so there is AVX2; two vectors of 32 bytes
    // are eight of eight.
    unsafe {
        let middle = _mm256_set1_epi16(MIDDLE);
        // packing goes per half: fours of columns a, b, c, d, a, b, c, d
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let mut bytes = [_mm256_setzero_si256(); 2];
        for (bytes, &[a, b, c, d]) in bytes.iter_mut().zip(columns.as_chunks::<4>().0) {
            let ab = _mm256_adds_epi16(_mm256_packs_epi32(a.0, b.0), middle);
            let cd = _mm256_adds_epi16(_mm256_packs_epi32(c.0, d.0), middle);
            *bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order);
        }
        std::mem::transmute::<[__m256i; 2], [[u8; 8]; 8]>(bytes)
    }
}
