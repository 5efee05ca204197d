//! Inverse DCT in 13-bit fixed point (Loeffler, Ligtenberg and Moschytz 1989),
//! with the roundings of libjpeg's accurate integer method, to the bit.

use super::huffman::Block;

/// A way to compute the transform.
pub(super) trait Idct {
    /// Writes a block of 8 x 8 samples to `out`, column by column, the columns
    /// `stride` apart. The quantisation lies row by row, as the block does.
    ///
    /// # Safety
    /// The processor must have the instructions of this way.
    unsafe fn idct(block: &Block, quantization: &[i32; 64], out: &mut [u8], stride: usize);
}

/// One number, or several that are treated alike. Sums and products wrap: only
/// damaged files overflow.
pub(super) trait Lanes: Copy {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, factor: i32) -> Self;
    /// Divided by 2 to the `BITS`, to the nearest.
    fn round<const BITS: i32>(self) -> Self;
}

/// Eight points from eight frequencies, times 2^13 and the square root of 8,
/// less `BITS` bits.
#[inline(always)]
pub(super) fn transform<const BITS: i32, L: Lanes>(f: [L; 8]) -> [L; 8] {
    let z = f[2].plus(f[6]).times(4433);
    let (low, high) = (z.plus(f[6].times(-15137)), z.plus(f[2].times(6270)));
    let plus = f[0].plus(f[4]).times(8192);
    let minus = f[0].minus(f[4]).times(8192);
    let even = [
        plus.plus(high),
        minus.plus(low),
        minus.minus(low),
        plus.minus(high),
    ];

    let z1 = f[7].plus(f[1]).times(-7373);
    let z2 = f[5].plus(f[3]).times(-20995);
    let (z3, z4) = (f[7].plus(f[3]), f[5].plus(f[1]));
    let z5 = z3.plus(z4).times(9633);
    let z3 = z3.times(-16069).plus(z5);
    let z4 = z4.times(-3196).plus(z5);
    let odd = [
        f[1].times(12299).plus(z1).plus(z4),
        f[3].times(25172).plus(z2).plus(z3),
        f[5].times(16819).plus(z2).plus(z4),
        f[7].times(2446).plus(z1).plus(z3),
    ];
    [
        even[0].plus(odd[0]).round::<BITS>(),
        even[1].plus(odd[1]).round::<BITS>(),
        even[2].plus(odd[2]).round::<BITS>(),
        even[3].plus(odd[3]).round::<BITS>(),
        even[3].minus(odd[3]).round::<BITS>(),
        even[2].minus(odd[2]).round::<BITS>(),
        even[1].minus(odd[1]).round::<BITS>(),
        even[0].minus(odd[0]).round::<BITS>(),
    ]
}

/// Bits that the pass along the columns drops, and that along the rows: two
/// more than go in are kept in between, and the factor 8 goes last.
pub(super) const DROPPED: [i32; 2] = [11, 18];

/// The level shift (ITU-T T.81, A.3.1).
pub(super) const MIDDLE: i16 = 128;

/// Plain Rust.
pub(super) struct Plain;

impl Idct for Plain {
    #[inline(always)]
    unsafe fn idct(block: &Block, quantization: &[i32; 64], out: &mut [u8], stride: usize) {
        let mut half = [[0; 8]; 8];
        for x in 0..8 {
            let at = |v: usize| i32::from(block[8 * v + x]).wrapping_mul(quantization[8 * v + x]);
            let column = transform::<{ DROPPED[0] }, i32>(std::array::from_fn(at));
            for (row, point) in half.iter_mut().zip(column) {
                row[x] = point;
            }
        }
        for (y, row) in half.into_iter().enumerate() {
            for (x, point) in transform::<{ DROPPED[1] }, i32>(row)
                .into_iter()
                .enumerate()
            {
                out[x * stride + y] = point.wrapping_add(MIDDLE.into()).clamp(0, 255) as u8;
            }
        }
    }
}

impl Lanes for i32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        self.wrapping_mul(factor)
    }

    #[inline(always)]
    fn round<const BITS: i32>(self) -> Self {
        self.wrapping_add(1 << (BITS - 1)) >> BITS
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::super::super::simd::{Level, Set};
    use super::*;

    fn by(level: Level, block: &Block, quantization: &[i32; 64]) -> [u8; 64] {
        let mut out = [0; 64];
        // SAFETY: a `Level` names only what the processor was seen to have.
        unsafe {
            match level.set() {
                Set::Portable => Plain::idct(block, quantization, &mut out, 8),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => super::super::avx2::Avx2::idct(block, quantization, &mut out, 8),
            }
        }
        out
    }

    /// Coefficients up to `size`, ever fewer towards the high ones; a linear
    /// congruential generator (Knuth's MMIX) makes the same ones every time.
    fn blocks(size: i64) -> impl Iterator<Item = Block> {
        let mut state = 2026u64;
        std::iter::repeat_with(move || {
            let mut block = [0; 256];
            for (i, coefficient) in block[..64].iter_mut().enumerate() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let random = (state >> 33) as i64 % (2 * size + 1) - size;
                *coefficient = (random / (1 + i as i64 / 8)) as i16;
            }
            block
        })
    }

    #[test]
    fn every_instruction_set_agrees() {
        for size in [30, 1000, 32_767] {
            for block in blocks(size).take(200) {
                let quantization = std::array::from_fn(|i| 1 + i as i32 / 3);
                let plain = by(Level::all().next().unwrap(), &block, &quantization);
                for level in Level::all() {
                    assert_eq!(by(level, &block, &quantization), plain, "{level:?}");
                }
            }
        }
    }

    #[test]
    fn the_definition_is_met_to_a_rounding() {
        // ITU-T T.81, A.3.3
        let cosine = |u: usize, x: usize| {
            let norm = if u == 0 { 0.5f64.sqrt() } else { 1.0 };
            norm / 2.0 * ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos()
        };
        for block in blocks(200).take(50) {
            let got = by(Level::best(), &block, &[2; 64]);
            for (x, column) in got.chunks_exact(8).enumerate() {
                for (y, &sample) in column.iter().enumerate() {
                    let wave = |i: usize| cosine(i % 8, x) * cosine(i / 8, y);
                    let sum: f64 = (0..64).map(|i| 2.0 * f64::from(block[i]) * wave(i)).sum();
                    let wanted = (sum + 128.0).clamp(0.0, 255.0);
                    assert!(
                        (f64::from(sample) - wanted).abs() < 0.6,
                        "{sample}, {wanted}"
                    );
                }
            }
        }
    }
}
