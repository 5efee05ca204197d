//! The AMX instructions as inline assembly, one function each, because stable
//! Rust has no intrinsics for them. On other architectures they are stubs, so
//! that callers compile.
//!
//! No `asm!` block declares the tile registers that it changes. The compiler
//! never uses them, so their contents persist from one block to the next. No
//! block is `pure`, so the compiler keeps their order.

/// The data type of an AMX dot product: the contents of a 4-byte word and the
/// type of the sums.
pub(crate) trait DotProduct {
    type Sum: Copy;

    /// Channels in a word.
    const CHANNELS: usize;

    /// Multiplies the words of the rows of tile `A` (pixels) by the words of
    /// the columns of tile `B` (output channels) and adds the products to tile
    /// `C`:
    ///
    /// ```text
    /// C[p][v] += sum over k in 0..16, c in 0..CHANNELS of A[p][k][c] * B[k][v][c]
    /// ```
    ///
    /// # Safety
    /// The tiles are configured, and the three are distinct.
    unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>();
}

/// Two bf16 channels per word. The sums are f32; denormals are flushed to zero.
pub(crate) enum Bf16 {}

/// Four 8-bit channels per word: u8 pixels times i8 weights. The sums are i32
/// and wrap.
pub(crate) enum Int8 {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    use super::{Bf16, DotProduct, Int8};

    /// The operand of `ldtilecfg`. Palette 1 has 8 tiles of up to 16 rows of 64
    /// bytes; the other 8 entries must be zero.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    const _: () = assert!(size_of::<Config>() == 64);

    static CONFIG: Config = Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// # Safety
    /// The CPU has AMX.
    #[inline]
    pub(crate) unsafe fn configure() {
        // SAFETY: guaranteed by the caller; the configuration is a static of 64
        // bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG,
                options(readonly, nostack, preserves_flags));
        }
    }

    /// # Safety
    /// The CPU has AMX.
    #[inline]
    pub(crate) unsafe fn release() {
        // SAFETY: guaranteed by the caller.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }

    /// # Safety
    /// The tiles are configured.
    #[inline(always)]
    pub(crate) unsafe fn zero<const T: u8>() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            asm!("tilezero tmm{t}", t = const T, options(nomem, nostack, preserves_flags));
        }
    }

    /// # Safety
    /// The tiles are configured; 16 rows of 64 bytes must be readable.
    #[inline(always)]
    pub(crate) unsafe fn load<const T: u8>(from: *const u8, stride: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            asm!("tileloadd tmm{t}, [{from} + {stride}*1]", t = const T,
                from = in(reg) from, stride = in(reg) stride,
                options(readonly, nostack, preserves_flags));
        }
    }

    /// # Safety
    /// The tiles are configured; 16 rows of 64 bytes must be writable.
    #[inline(always)]
    pub(crate) unsafe fn store<const T: u8>(to: *mut u8, stride: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            asm!("tilestored [{to} + {stride}*1], tmm{t}", t = const T,
                to = in(reg) to, stride = in(reg) stride,
                options(nostack, preserves_flags));
        }
    }

    impl DotProduct for Bf16 {
        type Sum = f32;
        const CHANNELS: usize = 2;

        #[inline(always)]
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {
            // SAFETY: guaranteed by the caller.
            unsafe {
                asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
                    options(nomem, nostack, preserves_flags));
            }
        }
    }

    impl DotProduct for Int8 {
        type Sum = i32;
        const CHANNELS: usize = 4;

        #[inline(always)]
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {
            // SAFETY: guaranteed by the caller.
            unsafe {
                asm!("tdpbusd tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
                    options(nomem, nostack, preserves_flags));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{configure, load, release, store, zero};

#[cfg(not(target_arch = "x86_64"))]
mod absent {
    use super::{Bf16, DotProduct, Int8};

    pub(crate) unsafe fn configure() {
        unreachable!("no AMX on this architecture")
    }

    pub(crate) unsafe fn release() {}

    pub(crate) unsafe fn zero<const T: u8>() {}

    pub(crate) unsafe fn load<const T: u8>(_: *const u8, _: usize) {}

    pub(crate) unsafe fn store<const T: u8>(_: *mut u8, _: usize) {}

    impl DotProduct for Bf16 {
        type Sum = f32;
        const CHANNELS: usize = 2;
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {}
    }

    impl DotProduct for Int8 {
        type Sum = i32;
        const CHANNELS: usize = 4;
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {}
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use absent::{configure, load, release, store, zero};
