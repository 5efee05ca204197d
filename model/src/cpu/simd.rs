//! The vector type of the kernels. Every kernel is written once over [`Simd`]
//! and compiled for each instruction set; `[f32; 8]` is the portable version.

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use half::bf16;

use super::run::Run;

/// A vector of [`Simd::LANES`] 32-bit words. A word is usually an f32. For the
/// dot products it may also be two bf16 or four 8-bit integers, which are
/// consecutive channels of one pixel (the first in the low bits); sums of the
/// 8-bit products are i32.
///
/// # Safety of the methods
/// The CPU must support the vector's instruction set, which
/// [`super::isa::dispatch`] ensures. Pointers must be valid for `LANES`
/// elements of their type; no alignment is required.
pub(crate) trait Simd: Copy {
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;

    /// Loads the word that [`Simd::mul_add_word`] and the dot products multiply
    /// by every word of a vector. What the other words contain is up to the
    /// instruction set.
    #[inline(always)]
    unsafe fn load_word(from: *const f32) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::splat(from.read_unaligned()) }
    }
    /// `sum[i] + self * w[i]`, where `self` is from [`Simd::load_word`].
    #[inline(always)]
    unsafe fn mul_add_word(self, w: Self, sum: Self) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { self.mul_add(w, sum) }
    }

    /// Loads bf16 as floats.
    unsafe fn load_bf16(from: *const u16) -> Self;
    /// Stores floats as bf16, rounded to nearest even.
    unsafe fn store_bf16(self, to: *mut u16);
    /// Loads bytes as floats, 0.0 to 255.0.
    unsafe fn load_u8(from: *const u8) -> Self;
    /// Stores floats as bytes, rounded to nearest even and clamped to 0..=255.
    unsafe fn store_u8(self, to: *mut u8);
    /// Stores consecutive vectors of floats as bf16.
    #[inline(always)]
    unsafe fn store_bf16s<const V: usize>(vectors: [Self; V], to: *mut u16) {
        // SAFETY: guaranteed by the caller.
        unsafe { store_bf16s(vectors, to) }
    }
    /// Stores consecutive vectors of floats as bytes.
    #[inline(always)]
    unsafe fn store_u8s<const V: usize>(vectors: [Self; V], to: *mut u8) {
        // SAFETY: guaranteed by the caller.
        unsafe { store_u8s(vectors, to) }
    }

    /// The low bf16 of each word, as floats.
    unsafe fn low_bf16(self) -> Self;
    /// The high bf16 of each word, as floats.
    unsafe fn high_bf16(self) -> Self;
    /// Words of two bf16 made of the high halves of `low` and `high`.
    unsafe fn high_halves(low: Self, high: Self) -> Self;
    /// Words of two bf16 made of `low` and `high`, rounded to nearest even.
    unsafe fn pair_bf16(low: Self, high: Self) -> Self;
    /// `sum[i] + self.low * w[i].low + self.high * w[i].high`: bf16 words, f32
    /// sums. `self` is from [`Simd::load_word`].
    unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self;
    /// `sum[i]` plus the four products u8 * i8 of `self` and `w[i]`; i32 sums.
    /// `self` is from [`Simd::load_word`].
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self;
    /// Whether [`Simd::dot_int8`] subtracts 128 from each u8, because the operands
    /// of the instruction are both signed. The sums start with what is missing.
    const SIGNED_INT8: bool = false;
    /// Whether there are [`Simd::load_first`] and [`Simd::permute`].
    const PERMUTES: bool = false;
    /// The first `words` words, which may be fewer than a vector has, and zeros.
    #[inline(always)]
    unsafe fn load_first(_from: *const f32, _words: usize) -> Self {
        unreachable!("this instruction set has no permutations")
    }
    /// The words of `self` at the positions in `order`, which are the bits of an i32.
    #[inline(always)]
    unsafe fn permute(self, _order: Self) -> Self {
        unreachable!("this instruction set has no permutations")
    }
    /// Whether there is a [`Simd::multiply_pairs`].
    const PAIRS: bool = false;
    /// The inner loop of a convolution with products of matrices: the sums of
    /// [`super::micro::multiply`] for weights in pairs of rows.
    ///
    /// # Safety
    /// As for [`super::micro::multiply`].
    #[inline(always)]
    unsafe fn multiply_pairs<const P: usize, const V: usize>(
        _corners: &[*const f32; P],
        _runs: &[Run],
        _row: usize,
        _weights: *const f32,
    ) -> [[Self; V]; P] {
        unreachable!("this instruction set has no products of matrices")
    }
    /// Converts i32 to floats.
    unsafe fn i32_as_floats(self) -> Self;
    /// The bytewise maximum.
    unsafe fn max_u8(self, b: Self) -> Self;
}

/// [`Simd::store_bf16s`], one vector at a time.
#[inline(always)]
unsafe fn store_bf16s<S: Simd, const V: usize>(vectors: [S; V], to: *mut u16) {
    for (v, x) in vectors.into_iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe { x.store_bf16(to.add(v * S::LANES)) }
    }
}

/// [`Simd::store_u8s`], one vector at a time.
#[inline(always)]
unsafe fn store_u8s<S: Simd, const V: usize>(vectors: [S; V], to: *mut u8) {
    for (v, x) in vectors.into_iter().enumerate() {
        // SAFETY: guaranteed by the caller.
        unsafe { x.store_u8(to.add(v * S::LANES)) }
    }
}

/// The portable version. It uses fused multiply-add only where the target
/// always has the instruction; elsewhere `f32::mul_add` is a library call.
impl Simd for [f32; 8] {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is valid for 8 floats.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's pointer is valid for 8 floats.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| {
            if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                self[i].mul_add(b[i], c[i])
            } else {
                self[i] * b[i] + c[i]
            }
        })
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i])
    }

    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        std::array::from_fn(|i| if self[i] > b[i] { self[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller's pointer is valid for 8 elements.
        let halves = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        halves.map(|x| f32::from_bits(u32::from(x) << 16))
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        let halves = self.map(|x| bf16::from_f32(x).to_bits());
        // SAFETY: the caller's pointer is valid for 8 elements.
        unsafe { to.cast::<[u16; 8]>().write_unaligned(halves) }
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller's pointer is valid for 8 elements.
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        bytes.map(f32::from)
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8) {
        let bytes = self.map(|x| x.round_ties_even() as u8);
        // SAFETY: the caller's pointer is valid for 8 elements.
        unsafe { to.cast::<[u8; 8]>().write_unaligned(bytes) }
    }

    #[inline(always)]
    unsafe fn low_bf16(self) -> Self {
        self.map(|x| f32::from_bits(x.to_bits() << 16))
    }

    #[inline(always)]
    unsafe fn high_bf16(self) -> Self {
        self.map(|x| f32::from_bits(x.to_bits() & 0xFFFF_0000))
    }

    #[inline(always)]
    unsafe fn high_halves(low: Self, high: Self) -> Self {
        let join = |low: f32, high: f32| high.to_bits() & 0xFFFF_0000 | low.to_bits() >> 16;
        std::array::from_fn(|i| f32::from_bits(join(low[i], high[i])))
    }

    #[inline(always)]
    unsafe fn pair_bf16(low: Self, high: Self) -> Self {
        let bits = |x: f32| u32::from(bf16::from_f32(x).to_bits());
        std::array::from_fn(|i| f32::from_bits(bits(high[i]) << 16 | bits(low[i])))
    }

    #[inline(always)]
    unsafe fn dot_bf16(self, w: Self, sum: Self) -> Self {
        // SAFETY: safe code for this type.
        unsafe {
            let low = self.low_bf16().mul_add(w.low_bf16(), sum);
            self.high_bf16().mul_add(w.high_bf16(), low)
        }
    }

    #[inline(always)]
    unsafe fn dot_int8(self, w: Self, sum: Self) -> Self {
        std::array::from_fn(|i| {
            let (x, w) = (self[i].to_bits(), w[i].to_bits());
            let product =
                |shift: u32| i32::from((x >> shift) as u8) * i32::from((w >> shift) as u8 as i8);
            let products = product(0) + product(8) + product(16) + product(24);
            f32::from_bits((sum[i].to_bits() as i32).wrapping_add(products) as u32)
        })
    }

    const PERMUTES: bool = true;

    #[inline(always)]
    unsafe fn load_first(from: *const f32, words: usize) -> Self {
        let mut loaded = [0.0; 8];
        // SAFETY: the caller's pointer is valid for `words` words, at most 8.
        unsafe { from.copy_to_nonoverlapping(loaded.as_mut_ptr(), words.min(8)) };
        loaded
    }

    #[inline(always)]
    unsafe fn permute(self, order: Self) -> Self {
        order.map(|position| self[position.to_bits() as usize % 8])
    }

    #[inline(always)]
    unsafe fn i32_as_floats(self) -> Self {
        self.map(|x| x.to_bits() as i32 as f32)
    }

    #[inline(always)]
    unsafe fn max_u8(self, b: Self) -> Self {
        std::array::from_fn(|i| {
            let (x, y) = (
                self[i].to_bits().to_le_bytes(),
                b[i].to_bits().to_le_bytes(),
            );
            let larger = std::array::from_fn(|k| x[k].max(y[k]));
            f32::from_bits(u32::from_le_bytes(larger))
        })
    }
}
