//! The inverse DCT at full size, in 13-bit fixed point (Loeffler, Ligtenberg and
//! Moschytz 1989). It is bit-exact with libjpeg's accurate integer method
//! (`jidctint.c`, "islow").

/// An implementation of the inverse DCT.
pub(crate) trait Idct {
    /// Writes a block of 8 x 8 samples to `out` column by column, with columns
    /// `stride` apart. `quantization` is in row order, like the block.
    ///
    /// # Safety
    /// The CPU must support the instructions of this implementation.
    unsafe fn idct(block: &[i16; 64], quantization: &[i32; 64], out: &mut [u8], stride: usize);
}

/// Arithmetic on an `i32` or on a vector of them. Overflow wraps; it occurs only
/// in damaged files.
pub(crate) trait Arithmetic: Copy {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, factor: i32) -> Self;
    /// Divides by 2 to the `BITS` and rounds to nearest.
    fn shift_right_rounded<const BITS: i32>(self) -> Self;
}

/// The one-dimensional inverse DCT of eight coefficients. The result is scaled by
/// 2^13 * sqrt(8) / 2^`BITS`.
#[inline(always)]
pub(crate) fn transform<const BITS: i32, T: Arithmetic>(f: [T; 8]) -> [T; 8] {
    let z = f[2].add(f[6]).mul(4433);
    let (low, high) = (z.add(f[6].mul(-15137)), z.add(f[2].mul(6270)));
    let plus = f[0].add(f[4]).mul(8192);
    let minus = f[0].sub(f[4]).mul(8192);
    let even = [
        plus.add(high),
        minus.add(low),
        minus.sub(low),
        plus.sub(high),
    ];

    let z1 = f[7].add(f[1]).mul(-7373);
    let z2 = f[5].add(f[3]).mul(-20995);
    let (z3, z4) = (f[7].add(f[3]), f[5].add(f[1]));
    let z5 = z3.add(z4).mul(9633);
    let z3 = z3.mul(-16069).add(z5);
    let z4 = z4.mul(-3196).add(z5);
    let odd = [
        f[1].mul(12299).add(z1).add(z4),
        f[3].mul(25172).add(z2).add(z3),
        f[5].mul(16819).add(z2).add(z4),
        f[7].mul(2446).add(z1).add(z3),
    ];
    [
        even[0].add(odd[0]).shift_right_rounded::<BITS>(),
        even[1].add(odd[1]).shift_right_rounded::<BITS>(),
        even[2].add(odd[2]).shift_right_rounded::<BITS>(),
        even[3].add(odd[3]).shift_right_rounded::<BITS>(),
        even[3].sub(odd[3]).shift_right_rounded::<BITS>(),
        even[2].sub(odd[2]).shift_right_rounded::<BITS>(),
        even[1].sub(odd[1]).shift_right_rounded::<BITS>(),
        even[0].sub(odd[0]).shift_right_rounded::<BITS>(),
    ]
}

/// The right shifts of the column pass and the row pass. Two extra fractional
/// bits are kept between the passes; the last shift removes them and the factor 8.
pub(crate) const SHIFTS: [i32; 2] = [11, 18];

/// The level shift (ITU-T T.81, A.3.1).
pub(crate) const LEVEL_SHIFT: i16 = 128;

/// The inverse DCT without CPU-specific instructions.
pub(crate) struct PortableIdct;

impl Idct for PortableIdct {
    #[inline(always)]
    unsafe fn idct(block: &[i16; 64], quantization: &[i32; 64], out: &mut [u8], stride: usize) {
        let mut rows = [[0; 8]; 8];
        for x in 0..8 {
            let at = |v: usize| i32::from(block[8 * v + x]).wrapping_mul(quantization[8 * v + x]);
            let column = transform::<{ SHIFTS[0] }, i32>(std::array::from_fn(at));
            for (row, point) in rows.iter_mut().zip(column) {
                row[x] = point;
            }
        }
        for (y, row) in rows.into_iter().enumerate() {
            let row = transform::<{ SHIFTS[1] }, i32>(row);
            for (x, point) in row.into_iter().enumerate() {
                out[x * stride + y] = point.wrapping_add(LEVEL_SHIFT.into()).clamp(0, 255) as u8;
            }
        }
    }
}

impl Arithmetic for i32 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn mul(self, factor: i32) -> Self {
        self.wrapping_mul(factor)
    }

    #[inline(always)]
    fn shift_right_rounded<const BITS: i32>(self) -> Self {
        self.wrapping_add(1 << (BITS - 1)) >> BITS
    }
}
