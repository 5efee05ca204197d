//! Detection of the CPU's instruction sets, and dispatch to a kernel compiled
//! for one of them.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::simd::Simd;
#[cfg(target_arch = "aarch64")]
use super::simd::arm::{Neon, NeonBf16, NeonDot, NeonI8mm};
#[cfg(target_arch = "x86_64")]
use super::simd::x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, AvxVnni};
use crate::options::Isa;

/// An instruction set that this CPU supports: only detection creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedIsa(Isa);

impl SupportedIsa {
    /// The best instruction set up to `isa` that this CPU supports.
    #[must_use]
    pub fn at_most(isa: Isa) -> Self {
        let all = Isa::ALL.into_iter();
        let best = all.filter(|&i| i <= isa && is_supported(i)).max();
        Self(best.unwrap_or(Isa::Portable))
    }

    /// The best instruction set that this CPU supports.
    #[must_use]
    pub fn best() -> Self {
        Self::at_most(Isa::Amx)
    }

    /// All instruction sets that this CPU supports, the portable one first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Isa::ALL
            .into_iter()
            .filter(|&i| is_supported(i))
            .map(Self)
            .collect()
    }

    /// The instruction set.
    #[must_use]
    pub fn get(self) -> Isa {
        self.0
    }

    /// Whether bf16 dot products are faster than f32 multiply-adds.
    #[must_use]
    pub fn has_bf16(self) -> bool {
        self.0 >= Isa::Avx512Bf16 || self.0 == Isa::NeonBf16
    }

    /// Whether an instruction multiplies matrices of elements, `per_word` in a word:
    /// 2 rows of 2 words times 2 columns of 2 words.
    pub(crate) fn has_pairs(self, per_word: usize) -> bool {
        match per_word {
            2 => self.0 == Isa::NeonBf16,
            4 => matches!(self.0, Isa::NeonI8mm | Isa::NeonBf16),
            _ => false,
        }
    }

    /// Whether an instruction permutes the words of a vector: [`Simd::PERMUTES`].
    pub(crate) fn has_permutation(self) -> bool {
        !matches!(
            self.0,
            Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16
        )
    }

    /// Whether the 8-bit dot product has two signed operands: [`Simd::SIGNED_INT8`].
    pub(crate) fn has_signed_int8(self) -> bool {
        self.0 == Isa::NeonDot
    }

    /// Whether AMX tiles compute bf16 and 8-bit dot products.
    pub(crate) fn has_tiles(self) -> bool {
        self.0 >= Isa::Amx
    }

    /// Instruction sets that this CPU lacks but the tests can emulate: those of
    /// which only the dot products are missing.
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn emulated() -> Vec<Self> {
        let lacks =
            |isa: Isa, base: Isa| (is_supported(base) && !is_supported(isa)).then_some(Self(isa));
        let isas = [
            lacks(Isa::AvxVnni, Isa::Avx2),
            lacks(Isa::Amx, Isa::Avx512Bf16),
        ];
        let isas: Vec<Self> = isas.into_iter().flatten().collect();
        if !isas.is_empty() {
            amx::emulator::install();
        }
        isas
    }

    /// 32-bit words in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Isa::Portable | Isa::Avx2 | Isa::AvxVnni => 8,
            Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16 => 8,
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Amx => 16,
        }
    }
}

/// Whether the CPU and the operating system support `isa`.
#[cfg(target_arch = "x86_64")]
fn is_supported(isa: Isa) -> bool {
    let avx512 = || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    };
    match isa {
        Isa::Portable => true,
        Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16 => false,
        Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        Isa::AvxVnni => is_supported(Isa::Avx2) && is_x86_feature_detected!("avxvnni"),
        Isa::Avx512 => avx512(),
        Isa::Avx512Vnni => avx512() && is_x86_feature_detected!("avx512vnni"),
        Isa::Avx512Bf16 => is_supported(Isa::Avx512Vnni) && is_x86_feature_detected!("avx512bf16"),
        Isa::Amx => is_supported(Isa::Avx512Bf16) && amx::available(),
    }
}

#[cfg(target_arch = "aarch64")]
fn is_supported(isa: Isa) -> bool {
    use std::arch::is_aarch64_feature_detected as detected;
    match isa {
        Isa::Portable => true,
        Isa::Neon => detected!("neon"),
        Isa::NeonDot => is_supported(Isa::Neon) && detected!("dotprod"),
        Isa::NeonI8mm => is_supported(Isa::NeonDot) && detected!("i8mm"),
        Isa::NeonBf16 => is_supported(Isa::NeonI8mm) && detected!("bf16"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_supported(isa: Isa) -> bool {
    isa == Isa::Portable
}

/// A kernel that is generic over the vector type. `run` must be
/// `#[inline(always)]`, so that it is compiled with the instruction set of its
/// caller.
pub(crate) trait Kernel {
    /// Channels in a word of its feature maps. Instruction sets that differ
    /// only in dot products which this kernel does not use share one
    /// compilation.
    const PER_WORD: usize;

    /// # Safety
    /// The CPU must support `S`.
    unsafe fn run<S: Simd>(self);
}

/// Runs `kernel` compiled for `isa`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: SupportedIsa, kernel: K) {
    // SAFETY: a `SupportedIsa` was checked by `is_supported`.
    unsafe {
        match isa.0 {
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
            #[cfg(target_arch = "aarch64")]
            Isa::NeonBf16 if K::PER_WORD == 2 => neon_bf16(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonBf16 | Isa::NeonI8mm if K::PER_WORD == 4 => neon_i8mm(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot if K::PER_WORD == 4 => neon_dot(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot | Isa::NeonI8mm | Isa::NeonBf16 => neon(kernel),
            _ => kernel.run::<[f32; 8]>(),
        }
    }
}

/// Runs an AMX kernel. Its vector code is compiled for AVX-512 BF16; the AMX
/// instructions are inline assembly.
///
/// # Panics
/// If `isa` has no AMX tiles.
pub(crate) fn dispatch_tiles<K: Kernel>(isa: SupportedIsa, kernel: K) {
    assert!(isa.has_tiles(), "{isa:?} has no AMX tiles");
    // SAFETY: a `SupportedIsa` was checked by `is_supported` (or a test emulates it),
    // and AMX implies these instruction sets.
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
    // SAFETY: callers have checked for these instruction sets; likewise below.
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

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<Neon>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn neon_dot<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<NeonDot>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn neon_i8mm<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<NeonI8mm>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod,i8mm,bf16")]
fn neon_bf16<K: Kernel>(kernel: K) {
    // SAFETY: as above.
    unsafe { kernel.run::<NeonBf16>() }
}
