//! One vector of `f32`, three widths: every kernel is written once over
//! [`Simd`] and compiled for AVX-512, AVX2 with FMA, and plain Rust.

use crate::options::Isa;

/// A vector of [`Simd::LANES`] floats.
///
/// # Safety of the methods
/// The processor must have the vector's instructions, which [`dispatch`]
/// guarantees; pointers must be valid for `LANES` floats (any alignment).
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
}

/// Work that can be done with vectors of any width. `run` must be
/// `#[inline(always)]`, so that it is compiled with the caller's instructions.
pub(crate) trait Kernel {
    /// # Safety
    /// The processor must have `S`'s instructions.
    unsafe fn run<S: Simd>(self);
}

/// An instruction set that this processor was seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Isa);

impl Level {
    /// The best instruction set of this processor that is not above `isa`.
    #[must_use]
    pub fn at_most(isa: Isa) -> Self {
        Self(isa.min(detect()))
    }

    /// The best instruction set of this processor.
    #[must_use]
    pub fn best() -> Self {
        Self(detect())
    }

    /// Its name.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.0
    }

    /// Floats in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Isa::Avx512 => 16,
            Isa::Avx2 | Isa::Portable => 8,
        }
    }
}

fn detect() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return Isa::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

/// Runs `kernel` with the vectors of `level`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(level: Level, kernel: K) {
    // SAFETY: a `Level` names only instructions that `detect` found.
    unsafe {
        match level.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(kernel),
            _ => kernel.run::<[f32; 8]>(),
        }
    }
}

/// Plain Rust. Fused only where the target always has the instruction:
/// elsewhere `f32::mul_add` would be a library call.
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
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Simd};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2<K: Kernel>(kernel: K) {
        // SAFETY: this function is only entered with AVX2 and FMA.
        unsafe { kernel.run::<__m256>() }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512<K: Kernel>(kernel: K) {
        // SAFETY: this function is only entered with AVX-512F.
        unsafe { kernel.run::<__m512>() }
    }

    macro_rules! simd {
        ($vector:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident,
         $fmadd:ident, $add:ident, $sub:ident, $mul:ident, $max:ident) => {
            // SAFETY of every body: the contract of the trait.
            #[allow(clippy::undocumented_unsafe_blocks)]
            impl Simd for $vector {
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    unsafe { $splat(x) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    unsafe { $fmadd(self, b, c) }
                }

                #[inline(always)]
                unsafe fn add(self, b: Self) -> Self {
                    unsafe { $add(self, b) }
                }

                #[inline(always)]
                unsafe fn sub(self, b: Self) -> Self {
                    unsafe { $sub(self, b) }
                }

                #[inline(always)]
                unsafe fn mul(self, b: Self) -> Self {
                    unsafe { $mul(self, b) }
                }

                #[inline(always)]
                unsafe fn max(self, b: Self) -> Self {
                    unsafe { $max(self, b) }
                }
            }
        };
    }

    simd!(
        __m256,
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
    simd!(
        __m512,
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
}
