//! Instruction sets. A kernel is one function in plain Rust that is compiled
//! once for each instruction set; the best one that the CPU supports is called.
//! AVX-512 was measured and is not included, as it is not faster here.

/// An instruction set that this CPU supports: only detection creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Simd(SimdTarget);

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SimdTarget {
    /// What the compiler may use on every CPU of this architecture.
    Portable,
    /// AVX2 and BMI2, with POPCNT and LZCNT.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Simd {
    /// Every instruction set that this CPU supports, the slowest first.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        let targets = [
            Some(Self(SimdTarget::Portable)),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("lzcnt"))
            .then_some(Self(SimdTarget::Avx2)),
        ];
        targets.into_iter().flatten()
    }

    /// The fastest instruction set that this CPU supports.
    pub(crate) fn best() -> Self {
        Self::all()
            .next_back()
            .unwrap_or(Self(SimdTarget::Portable))
    }

    /// The instruction set.
    pub(crate) fn target(self) -> SimdTarget {
        self.0
    }
}

/// Defines `$name(simd, arguments)`, which calls `$body(arguments)` compiled for
/// the instruction set `simd`. `$body` must be `#[inline(always)]`, otherwise it
/// is compiled only once, without the additional instructions.
macro_rules! kernel {
    ($(#[$doc:meta])* $visible:vis fn $name:ident = $body:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        $(#[$doc])*
        $visible fn $name(simd: $crate::support::simd::Simd, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi2")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                $body($($argument),*)
            }
            match simd.target() {
                $crate::support::simd::SimdTarget::Portable => $body($($argument),*),
                // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
                #[cfg(target_arch = "x86_64")]
                $crate::support::simd::SimdTarget::Avx2 => unsafe { avx2($($argument),*) },
            }
        }
    };
}
pub(crate) use kernel;
