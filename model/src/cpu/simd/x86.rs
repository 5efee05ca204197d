//! The x86 vector types: AVX2 with and without VNNI, and AVX-512 with and
//! without VNNI and BF16. They differ in which dot products have an
//! instruction.

macro_rules! floats {
    ($lanes:literal, $splat:ident, $load:ident, $store:ident,
     $fmadd:ident, $add:ident, $sub:ident, $mul:ident, $max:ident) => {
        const LANES: usize = $lanes;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { Self($splat(x)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self($load(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { $store(to, self.0) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { Self($fmadd(self.0, b.0, c.0)) }
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            unsafe { Self($add(self.0, b.0)) }
        }

        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            unsafe { Self($sub(self.0, b.0)) }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            unsafe { Self($mul(self.0, b.0)) }
        }

        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            unsafe { Self($max(self.0, b.0)) }
        }
    };
}

mod avx2;
mod avx512;

pub(crate) use avx2::{Avx2, AvxVnni};
pub(crate) use avx512::{Avx512, Avx512Bf16, Avx512Vnni};
