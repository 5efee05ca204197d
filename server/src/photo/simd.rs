//! Instruction sets: a kernel is one function in plain Rust, compiled again
//! for each, and the best one that the processor has is run. AVX-512 is not
//! among them: it was measured, and gains nothing here.

/// An instruction set that this processor was seen to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Level {
    /// Every instruction set of this processor, the plainest first.
    pub(super) fn all() -> impl DoubleEndedIterator<Item = Self> {
        let sets = [
            Some(Self(Set::Portable)),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2"))
                .then_some(Self(Set::Avx2)),
        ];
        sets.into_iter().flatten()
    }

    /// The best of them.
    pub(super) fn best() -> Self {
        Self::all().next_back().unwrap_or(Self(Set::Portable))
    }

    /// Which one it is, for [`kernel`] to choose by.
    pub(super) fn set(self) -> Set {
        self.0
    }
}

/// Makes `$name(level, arguments)` of `$body(arguments)`, which must be
/// `#[inline(always)]` in order to be compiled with each set's instructions.
macro_rules! kernel {
    ($(#[$doc:meta])* $visible:vis fn $name:ident = $body:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        $(#[$doc])*
        $visible fn $name(level: $crate::photo::simd::Level, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi2")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                $body($($argument),*)
            }
            match level.set() {
                $crate::photo::simd::Set::Portable => $body($($argument),*),
                // SAFETY: a `Level` names only what the processor was seen to have.
                #[cfg(target_arch = "x86_64")]
                $crate::photo::simd::Set::Avx2 => unsafe { avx2($($argument),*) },
            }
        }
    };
}
pub(super) use kernel;
