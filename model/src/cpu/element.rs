//! The element types of feature maps: f32, bf16 and quantized u8.

use half::bf16;

use super::simd::Simd;

/// The quantization parameters of a u8 feature map: a byte `q` represents
/// `(q - zero_point) * scale`. Float types ignore them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// The difference between adjacent representable values.
    pub(crate) scale: f32,
    /// The byte that represents 0: a whole number in 0..=255.
    pub(crate) zero_point: f32,
}

/// The quantization parameters of a convolution's feature maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvAffines {
    pub(crate) input: Affine,
    /// The identity if there is no residual.
    pub(crate) residual: Affine,
    pub(crate) output: Affine,
}

impl Affine {
    /// A byte represents its own value. Also the parameters of float types.
    pub(crate) const IDENTITY: Self = Self {
        scale: 1.0,
        zero_point: 0.0,
    };

    /// Asymmetric quantization that covers `low..=high` and represents 0
    /// exactly.
    #[must_use]
    pub(crate) fn covering(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !scale.is_normal() {
            return Self::IDENTITY;
        }
        Self {
            scale,
            zero_point: (-low / scale).round(),
        }
    }
}

/// An element type of feature maps. A 32-bit word holds [`Element::PER_WORD`]
/// channels of a pixel; one multiply-add of the inner loop processes them all.
///
/// # Safety of the methods
/// As for [`Simd`].
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// Channels in a word.
    const PER_WORD: usize;
    /// Converts to f32, dequantizing.
    fn to_f32(self, affine: Affine) -> f32;
    /// Converts from f32 with rounding, quantizing.
    fn from_f32(x: f32, affine: Affine) -> Self;
    /// Converts a weight for packing. For u8 feature maps `x` is a whole number in
    /// -128..=127, stored as i8.
    fn from_weight(x: f32) -> Self;
    /// The inverse of [`Element::from_weight`].
    fn to_weight(self) -> f32;
    /// Loads `LANES` elements as f32, dequantizing.
    unsafe fn load<S: Simd>(from: *const Self, affine: Affine) -> S;
    /// Stores `LANES` floats as elements, quantizing.
    unsafe fn store<S: Simd>(x: S, to: *mut Self, affine: Affine);
    /// `sum + x * w` over the channels of each word; `x` is from
    /// [`Simd::load_word`].
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S;
    /// Turns raw sums into f32 results: i32 sums are multiplied by `scale`, then
    /// `bias` is added.
    #[inline(always)]
    unsafe fn scale_and_bias<S: Simd>(sum: S, scale: *const f32, bias: *const f32) -> S {
        let _ = scale;
        // SAFETY: guaranteed by the caller, here and below.
        unsafe { sum.add(S::load(bias)) }
    }
    /// Adds `LANES` elements of the residual to results. `scale` is the
    /// residual's requantization factor, unused by float types.
    #[inline(always)]
    unsafe fn add_residual<S: Simd>(result: S, from: *const Self, scale: f32) -> S {
        let _ = scale;
        // SAFETY: as above.
        unsafe { result.add(Self::load(from, Affine::IDENTITY)) }
    }
    /// The elementwise maximum of two vectors of words.
    unsafe fn max<S: Simd>(a: S, b: S) -> S;
    /// Stores results that are in output units already: rounds, does not scale.
    #[inline(always)]
    unsafe fn store_result<S: Simd>(result: S, to: *mut Self) {
        // SAFETY: as above.
        unsafe { Self::store(result, to, Affine::IDENTITY) }
    }
    /// The same for `V` consecutive vectors.
    #[inline(always)]
    unsafe fn store_results<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        for (v, result) in results.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { Self::store_result(result, to.add(v * S::LANES)) }
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
    fn from_weight(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn to_weight(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, _: Affine) -> S {
        // SAFETY: guaranteed by the caller, here and below.
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
        unsafe { x.mul_add_word(w, sum) }
    }

    #[inline(always)]
    unsafe fn max<S: Simd>(a: S, b: S) -> S {
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
    fn from_weight(x: f32) -> Self {
        bf16::from_f32(x)
    }

    #[inline(always)]
    fn to_weight(self) -> f32 {
        bf16::to_f32(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, _: Affine) -> S {
        // SAFETY: guaranteed by the caller; `bf16` is a u16.
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
    unsafe fn store_results<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        // SAFETY: as above.
        unsafe { S::store_bf16s(results, to.cast()) }
    }

    #[inline(always)]
    unsafe fn max<S: Simd>(a: S, b: S) -> S {
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
        (f32::from(self) - affine.zero_point) * affine.scale
    }

    #[inline(always)]
    fn from_f32(x: f32, affine: Affine) -> Self {
        // `as` saturates to 0..=255
        (x / affine.scale + affine.zero_point).round_ties_even() as u8
    }

    #[inline(always)]
    fn from_weight(x: f32) -> Self {
        x.round_ties_even() as i8 as u8
    }

    #[inline(always)]
    fn to_weight(self) -> f32 {
        f32::from(self as i8)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self, affine: Affine) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe {
            S::load_u8(from)
                .sub(S::splat(affine.zero_point))
                .mul(S::splat(affine.scale))
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(x: S, to: *mut Self, affine: Affine) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let q = x.mul_add(S::splat(1.0 / affine.scale), S::splat(affine.zero_point));
            q.store_u8(to);
        }
    }

    #[inline(always)]
    unsafe fn dot<S: Simd>(x: S, w: S, sum: S) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe { x.dot_int8(w, sum) }
    }

    #[inline(always)]
    unsafe fn max<S: Simd>(a: S, b: S) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe { a.max_u8(b) }
    }

    #[inline(always)]
    unsafe fn scale_and_bias<S: Simd>(sum: S, scale: *const f32, bias: *const f32) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe { sum.i32_as_floats().mul_add(S::load(scale), S::load(bias)) }
    }

    #[inline(always)]
    unsafe fn add_residual<S: Simd>(result: S, from: *const Self, scale: f32) -> S {
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_u8(from).mul_add(S::splat(scale), result) }
    }

    #[inline(always)]
    unsafe fn store_result<S: Simd>(result: S, to: *mut Self) {
        // SAFETY: guaranteed by the caller.
        unsafe { result.store_u8(to) }
    }

    #[inline(always)]
    unsafe fn store_results<S: Simd, const V: usize>(results: [S; V], to: *mut Self) {
        // SAFETY: guaranteed by the caller.
        unsafe { S::store_u8s(results, to) }
    }
}
