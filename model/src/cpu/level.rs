//! Which instruction sets this processor has, and the way into a kernel
//! compiled for one of them.

use super::amx;
use super::simd::Simd;
#[cfg(target_arch = "x86_64")]
use super::simd::x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, AvxVnni};
use crate::options::Isa;

/// An instruction set that this processor was seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Isa);

impl Level {
    /// The best instruction set of this processor that is not above `isa`.
    #[must_use]
    pub fn at_most(isa: Isa) -> Self {
        let all = Isa::ALL.into_iter();
        let best = all.filter(|&i| i <= isa && has(i)).max();
        Self(best.unwrap_or(Isa::Portable))
    }

    /// The best instruction set of this processor.
    #[must_use]
    pub fn best() -> Self {
        Self::at_most(Isa::Amx)
    }

    /// Every instruction set of this processor, the portable one first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Isa::ALL.into_iter().filter(|&i| has(i)).map(Self).collect()
    }

    /// Its name.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.0
    }

    /// Whether it multiplies bf16 faster than f32.
    #[must_use]
    pub fn has_bf16(self) -> bool {
        self.0 >= Isa::Avx512Bf16
    }

    /// Whether bf16 and 8-bit integers are multiplied on tiles.
    pub(crate) fn has_tiles(self) -> bool {
        self.0 >= Isa::Amx
    }

    /// Instruction sets that this processor lacks and emulates: those of which
    /// it has all but the products.
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn emulated() -> Vec<Self> {
        let lacks = |isa: Isa, base: Isa| (has(base) && !has(isa)).then_some(Self(isa));
        let levels = [
            lacks(Isa::AvxVnni, Isa::Avx2),
            lacks(Isa::Amx, Isa::Avx512Bf16),
        ];
        let levels: Vec<Self> = levels.into_iter().flatten().collect();
        if !levels.is_empty() {
            amx::emulator::install();
        }
        levels
    }

    /// Words of 32 bits in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Isa::Portable | Isa::Avx2 | Isa::AvxVnni => 8,
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Amx => 16,
        }
    }
}

/// Whether this processor, and its kernel, have what `isa` needs.
#[cfg(target_arch = "x86_64")]
fn has(isa: Isa) -> bool {
    let avx512 = || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    };
    match isa {
        Isa::Portable => true,
        Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        Isa::AvxVnni => has(Isa::Avx2) && is_x86_feature_detected!("avxvnni"),
        Isa::Avx512 => avx512(),
        Isa::Avx512Vnni => avx512() && is_x86_feature_detected!("avx512vnni"),
        Isa::Avx512Bf16 => has(Isa::Avx512Vnni) && is_x86_feature_detected!("avx512bf16"),
        Isa::Amx => has(Isa::Avx512Bf16) && amx::available(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(isa: Isa) -> bool {
    isa == Isa::Portable
}

/// Work that can be done with vectors of any width. `run` must be
/// `#[inline(always)]`, so that it is compiled with the caller's instructions.
pub(crate) trait Kernel {
    /// Channels in a word of the maps it works on. Generations of AVX-512 that
    /// treat its words alike share one compilation.
    const PER_WORD: usize;

    /// # Safety
    /// The processor must have `S`'s instructions.
    unsafe fn run<S: Simd>(self);
}

/// Runs `kernel` with the vectors of `level`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(level: Level, kernel: K) {
    // SAFETY: a `Level` names only instructions that `has` found.
    unsafe {
        match level.0 {
            #[cfg(target_arch = "x86_64")]
            isa if K::PER_WORD == 2 && isa >= Isa::Avx512Bf16 => avx512bf16(kernel),
            #[cfg(target_arch = "x86_64")]
            isa if K::PER_WORD == 4 && isa >= Isa::Avx512Vnni => avx512vnni(kernel),
            #[cfg(target_arch = "x86_64")]
            isa if isa >= Isa::Avx512 => avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni if K::PER_WORD == 4 => avxvnni(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => avx2(kernel),
            _ => kernel.run::<[f32; 8]>(),
        }
    }
}

/// Runs `kernel` with the vectors of `level`, which has tiles: one compilation
/// beside the tiles' instructions, which are the same whoever compiles them.
///
/// # Panics
/// When it has none.
pub(crate) fn dispatch_tiles<K: Kernel>(level: Level, kernel: K) {
    assert!(level.has_tiles(), "{level:?} has no tiles");
    // SAFETY: a `Level` names only instructions that `has` found (or a test
    // emulates), and tiles come with these.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        avx512bf16(kernel);
    }
    #[cfg(not(target_arch = "x86_64"))]
    drop(kernel);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) {
    // SAFETY: this function is only entered with AVX2 and FMA; so below.
    unsafe { kernel.run::<Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
fn avxvnni<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<AvxVnni>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn avx512vnni<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<Avx512Vnni>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
fn avx512bf16<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<Avx512Bf16>() }
}
