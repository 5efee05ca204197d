//! The numbers a map may hold: f32, bf16, or bytes that stand for numbers.

use half::bf16;

use super::simd::Simd;

/// What a byte of a quantised map stands for: `(q - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// Distance between neighbours.
    pub(crate) scale: f32,
    /// The byte that stands for 0: a whole number, 0 to 255.
    pub(crate) zero: f32,
}

/// What the bytes of a convolution's maps mean; floats ignore it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meanings {
    pub(crate) input: Affine,
    /// Of what is added before the activation, if anything is.
    pub(crate) residual: Affine,
    pub(crate) output: Affine,
}

impl Affine {
    /// Bytes as they are; all that floats need.
    pub(crate) const IDENTITY: Self = Self {
        scale: 1.0,
        zero: 0.0,
    };

    /// The byte range that covers `low..=high` and has an exact 0.
    #[must_use]
    pub(crate) fn covering(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !scale.is_normal() {
            return Self::IDENTITY;
        }
        Self {
            scale,
            zero: (-low / scale).round(),
        }
    }
}

/// A number as maps hold it. A 32-bit word holds [`Element::PER_WORD`]
/// channels of a pixel, which one step of the inner loop multiplies at once.
///
/// # Safety of the methods
/// As [`Simd`]'s.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// Channels in a word.
    const PER_WORD: usize;
    /// As a float.
    fn to_f32(self, affine: Affine) -> f32;
    /// The nearest that there is.
    fn from_f32(x: f32, affine: Affine) -> Self;
    /// A weight as it is packed; of bytes, a whole number from -127 to 127.
    fn weight(x: f32) -> Self;
    /// `LANES` numbers as floats.
    unsafe fn load<S: Simd>(from: *const Self, affine: Affine) -> S;
    /// `LANES` floats as numbers.
    unsafe fn store<S: Simd>(x: S, to: *mut Self, affine: Affine);
    /// `sum + x * w` over the channels of a word.
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S;
    /// A sum of dots as a result before rounding: plus `bias`, and where the
    /// products are integers, times `scale` first.
    #[inline(always)]
    unsafe fn result<S: Simd>(sum: S, scale: *const f32, bias: *const f32) -> S {
        let _ = scale;
        // SAFETY: the caller's; so below.
        unsafe { sum.add(S::load(bias)) }
    }
    /// A residual's `LANES` numbers added to results; `factor` is what a unit
    /// of its bytes is worth in units of the result.
    #[inline(always)]
    unsafe fn add<S: Simd>(result: S, from: *const Self, factor: f32) -> S {
        let _ = factor;
        // SAFETY: as above.
        unsafe { result.add(Self::load(from, Affine::IDENTITY)) }
    }
    /// The larger of each two numbers in words.
    unsafe fn largest<S: Simd>(a: S, b: S) -> S;
    /// Results rounded to numbers.
    #[inline(always)]
    unsafe fn put<S: Simd>(result: S, to: *mut Self) {
        // SAFETY: as above.
        unsafe { Self::store(result, to, Affine::IDENTITY) }
    }
    /// The same of vectors that lie one behind the other.
    #[inline(always)]
    unsafe fn put_all<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        for (v, result) in results.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { Self::put(result, to.add(v * S::LANES)) }
        }
    }
}

impl Element for f32 {
    const PER_WORD: usize = 1;

    #[inline(always)]
    fn to_f32(self, _: Affine) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(x: f32, _: Affine) -> Self {
        x
    }

    #[inline(always)]
    fn weight(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, _: Affine) -> S {
        // SAFETY: the caller's; so below.
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(x: S, to: *mut Self, _: Affine) {
        // SAFETY: as above.
        unsafe { x.store(to) }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S {
        // SAFETY: as above.
        unsafe { x.mul_add(w, sum) }
    }

    #[inline(always)]
    unsafe fn largest<S: Simd>(a: S, b: S) -> S {
        // SAFETY: as above.
        unsafe { a.max(b) }
    }
}

impl Element for bf16 {
    const PER_WORD: usize = 2;

    #[inline(always)]
    fn to_f32(self, _: Affine) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn from_f32(x: f32, _: Affine) -> Self {
        bf16::from_f32(x)
    }

    #[inline(always)]
    fn weight(x: f32) -> Self {
        bf16::from_f32(x)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, _: Affine) -> S {
        // SAFETY: the caller's; `bf16` is a u16.
        unsafe { S::load_bf16(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(x: S, to: *mut Self, _: Affine) {
        // SAFETY: as above.
        unsafe { x.store_bf16(to.cast()) }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S {
        // SAFETY: as above.
        unsafe { x.dot_bf16(w, sum) }
    }

    #[inline(always)]
    unsafe fn put_all<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        // SAFETY: as above.
        unsafe { S::store_bf16s(results, to.cast()) }
    }

    #[inline(always)]
    unsafe fn largest<S: Simd>(a: S, b: S) -> S {
        // SAFETY: as above.
        unsafe {
            let low = a.low_bf16().max(b.low_bf16());
            S::high_halves(low, a.high_bf16().max(b.high_bf16()))
        }
    }
}

impl Element for u8 {
    const PER_WORD: usize = 4;

    #[inline(always)]
    fn to_f32(self, affine: Affine) -> f32 {
        (f32::from(self) - affine.zero) * affine.scale
    }

    #[inline(always)]
    fn from_f32(x: f32, affine: Affine) -> Self {
        // `as` clamps to 0..=255
        (x / affine.scale + affine.zero).round_ties_even() as u8
    }

    #[inline(always)]
    fn weight(x: f32) -> Self {
        x.round_ties_even() as i8 as u8
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, affine: Affine) -> S {
        // SAFETY: the caller's.
        unsafe {
            S::load_u8(from)
                .sub(S::splat(affine.zero))
                .mul(S::splat(affine.scale))
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(x: S, to: *mut Self, affine: Affine) {
        // SAFETY: the caller's.
        unsafe {
            let q = x.mul_add(S::splat(1.0 / affine.scale), S::splat(affine.zero));
            q.store_u8(to);
        }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S {
        // SAFETY: the caller's.
        unsafe { x.dot_int8(w, sum) }
    }

    #[inline(always)]
    unsafe fn largest<S: Simd>(a: S, b: S) -> S {
        // SAFETY: the caller's.
        unsafe { a.max_u8(b) }
    }

    #[inline(always)]
    unsafe fn result<S: Simd>(sum: S, scale: *const f32, bias: *const f32) -> S {
        // SAFETY: the caller's.
        unsafe { sum.i32_as_floats().mul_add(S::load(scale), S::load(bias)) }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(result: S, from: *const Self, factor: f32) -> S {
        // SAFETY: the caller's.
        unsafe { S::load_u8(from).mul_add(S::splat(factor), result) }
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(result: S, to: *mut Self) {
        // SAFETY: the caller's.
        unsafe { result.store_u8(to) }
    }

    #[inline(always)]
    unsafe fn put_all<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        // SAFETY: the caller's.
        unsafe { S::store_u8s(results, to) }
    }
}
