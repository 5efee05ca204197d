//! The AMX instructions, a function each: stable Rust has no intrinsics for
//! them. Elsewhere than on x86-64 they exist so that callers compile.
//!
//! No function names the tile registers that it changes: the compiler never
//! uses them, so what one leaves there the next one finds. None is `pure`, so
//! their order is kept.

/// What a word of 4 bytes holds, and the sum of its products.
pub(crate) trait Product {
    type Sum: Copy;

    /// Channels in a word.
    const CHANNELS: usize;

    /// Adds to tile `C` the products of the words of tile `A`'s rows (pixels)
    /// and of tile `B`'s columns (output channels):
    ///
    /// ```text
    /// C[p][v] += sum over k in 0..16, c in 0..CHANNELS of A[p][k][c] * B[k][v][c]
    /// ```
    ///
    /// # Safety
    /// The tiles are configured, the three are not one another.
    unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>();
}

/// Two bf16 channels times two; the sums are f32, denormals zero.
pub(crate) enum Bf16 {}

/// Four u8 channels (pixels) times four i8 (weights); the sums wrap.
pub(crate) enum Int8 {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    use super::{Bf16, Int8, Product};

    /// What `ldtilecfg` reads; palette 1 has 8 tiles of up to 16 rows of 64
    /// bytes. The other 8 entries must be zero.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row: [u16; 16],
        rows: [u8; 16],
    }

    const _: () = assert!(size_of::<Config>() == 64);

    static CONFIG: Config = Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// # Safety
    /// The instructions exist.
    #[inline]
    pub(crate) unsafe fn configure() {
        // SAFETY: the caller's; the configuration is a static of 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG,
                options(readonly, nostack, preserves_flags));
        }
    }

    /// # Safety
    /// The instructions exist.
    #[inline]
    pub(crate) unsafe fn release() {
        // SAFETY: the caller's.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }

    /// # Safety
    /// The tiles are configured.
    #[inline(always)]
    pub(crate) unsafe fn zero<const T: u8>() {
        // SAFETY: the caller's.
        unsafe {
            asm!("tilezero tmm{t}", t = const T, options(nomem, nostack, preserves_flags));
        }
    }

    /// # Safety
    /// The tiles are configured; 16 rows of 64 bytes must be readable.
    #[inline(always)]
    pub(crate) unsafe fn load<const T: u8>(from: *const u8, stride: usize) {
        // SAFETY: the caller's.
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
        // SAFETY: the caller's.
        unsafe {
            asm!("tilestored [{to} + {stride}*1], tmm{t}", t = const T,
                to = in(reg) to, stride = in(reg) stride,
                options(nostack, preserves_flags));
        }
    }

    impl Product for Bf16 {
        type Sum = f32;
        const CHANNELS: usize = 2;

        #[inline(always)]
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {
            // SAFETY: the caller's.
            unsafe {
                asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
                    options(nomem, nostack, preserves_flags));
            }
        }
    }

    impl Product for Int8 {
        type Sum = i32;
        const CHANNELS: usize = 4;

        #[inline(always)]
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {
            // SAFETY: the caller's.
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
    use super::{Bf16, Int8, Product};

    pub(crate) unsafe fn configure() {
        unreachable!("no AMX on this architecture")
    }

    pub(crate) unsafe fn release() {}

    pub(crate) unsafe fn zero<const T: u8>() {}

    pub(crate) unsafe fn load<const T: u8>(_: *const u8, _: usize) {}

    pub(crate) unsafe fn store<const T: u8>(_: *mut u8, _: usize) {}

    impl Product for Bf16 {
        type Sum = f32;
        const CHANNELS: usize = 2;
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {}
    }

    impl Product for Int8 {
        type Sum = i32;
        const CHANNELS: usize = 4;
        unsafe fn multiply_add<const C: u8, const A: u8, const B: u8>() {}
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use absent::{configure, load, release, store, zero};
