//! What a user can choose about how a network runs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::device::Device;
use crate::dtype::Dtype;

/// A value that the user names or leaves to this crate: `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice<T> {
    /// The best that this machine, build and checkpoint allow; the next best
    /// where that turns out not to work.
    #[default]
    Auto,
    /// This one; an error where it cannot be used.
    Named(T),
}

impl<T: FromStr<Err = String>> FromStr for Choice<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(named) => Ok(Self::Named(named)),
                Err(error) => Err(format!("{error}; or use auto")),
            },
        }
    }
}

impl<T: fmt::Display> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(named) => named.fmt(f),
        }
    }
}

/// Whose kernels run a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// This crate's fused kernels: the CPU plan, or the CUDA executor.
    #[default]
    Fused,
    /// candle's own operations, one for each node of the graph, in f32: slow,
    /// and the reference for the fused kernels. On a GPU it needs a build with
    /// candle's own kernels.
    Candle,
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fused" => Ok(Self::Fused),
            "candle" => Ok(Self::Candle),
            _ => Err(format!("`{text}` is not fused or candle")),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fused => "fused",
            Self::Candle => "candle",
        })
    }
}

/// Whether a backend's logits are checked when it is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfCheck {
    /// Where the kernels were never tested on the hardware they are for.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl FromStr for SelfCheck {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is not auto, on or off")),
        }
    }
}

impl fmt::Display for SelfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// An instruction set of the fused CPU kernels, in ascending order for each
/// processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler.
    Portable,
    /// NEON: every 64-bit Arm CPU.
    Neon,
    /// NEON with dot products of 8-bit integers (Neoverse N1, Apple M1).
    NeonDot,
    /// NEON with products of matrices of 8-bit integers.
    NeonI8mm,
    /// NEON with products of matrices of bf16 too (Neoverse V1, Apple M2).
    NeonBf16,
    /// AVX2 with FMA.
    Avx2,
    /// AVX2 with products of 8-bit integers (Alder Lake).
    AvxVnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with products of 8-bit integers (Ice Lake).
    Avx512Vnni,
    /// AVX-512 with products of bf16 too (Cooper Lake, Zen 4).
    Avx512Bf16,
    /// AMX: tiles of bf16 and 8-bit integers (Sapphire Rapids).
    Amx,
}

impl Isa {
    /// All of them, in ascending order.
    pub const ALL: [Self; 11] = [
        Self::Portable,
        Self::Neon,
        Self::NeonDot,
        Self::NeonI8mm,
        Self::NeonBf16,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
        Self::Amx,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::NeonDot => "neondot",
            Self::NeonI8mm => "neoni8mm",
            Self::NeonBf16 => "neonbf16",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }
}

impl FromStr for Isa {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let isa = Self::ALL.into_iter().find(|isa| isa.name() == text);
        let names = || Self::ALL.map(Self::name).join(", ");
        isa.ok_or_else(|| format!("`{text}` is not one of {}", names()))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of cuDNN's engines runs a convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// The first that cuDNN's heuristic names.
    Guess,
    /// The fastest, measured when the network is loaded. The results are kept
    /// in a file in this folder, if one is given.
    Measure(Option<PathBuf>),
}

/// How to use NVIDIA GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Forward passes that run at the same time on each GPU.
    pub streams: usize,
    /// Images of the largest batch for which memory is allocated and graphs
    /// are captured; a larger one runs in several parts.
    pub largest_batch: usize,
    /// How cuDNN's engines are chosen.
    pub tuning: Tuning,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            streams: 2,
            largest_batch: 16,
            tuning: Tuning::Measure(None),
        }
    }
}

/// How to run a network. The default chooses the best for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whose kernels.
    pub engine: EngineChoice,
    /// Where. `auto` is CUDA where it works, else the CPU; the log says which
    /// and why.
    pub device: Choice<Device>,
    /// In which data type. `auto` is the fastest whose accuracy is that of the
    /// checkpoint.
    pub dtype: Choice<Dtype>,
    /// The highest instruction set that CPU kernels may use.
    pub isa: Choice<Isa>,
    /// Whether the logits are checked when the network is loaded.
    pub self_check: SelfCheck,
    /// How to use GPUs, if any.
    pub cuda: CudaOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_its_own_text<T: FromStr<Err = String> + fmt::Display>(texts: &[&str]) {
        for text in texts {
            let choice: T = text.parse().unwrap();
            assert_eq!(choice.to_string(), *text);
        }
        let Err(error) = "never".parse::<T>().map(drop) else {
            panic!("`never` was accepted");
        };
        assert!(
            error.contains("`never`") && error.contains(texts[0]),
            "{error}"
        );
    }

    #[test]
    fn choices_are_parsed_from_their_own_text() {
        is_its_own_text::<Choice<Device>>(&["auto", "cpu", "cuda:0", "cuda:0,1"]);
        is_its_own_text::<Choice<Dtype>>(&["auto", "f32", "bf16", "f16", "int8"]);
        is_its_own_text::<Choice<Isa>>(&["auto", "portable", "avx2", "amx", "neondot"]);
        is_its_own_text::<EngineChoice>(&["fused", "candle"]);
        is_its_own_text::<SelfCheck>(&["auto", "on", "off"]);
    }
}
