//! What the user may choose about how a network runs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `auto`, `cpu`, `cuda`, `cuda:N` or `cuda:N,M`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA where it works, else the CPU; the log says which and why.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// CUDA cards by their ordinals; an error when one cannot be used.
    Cuda(Vec<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(vec![0])),
            _ => text
                .strip_prefix("cuda:")
                .and_then(ordinals)
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{text}` is not auto, cpu, cuda, cuda:N or cuda:N,M")),
        }
    }
}

/// Different numbers between commas.
fn ordinals(text: &str) -> Option<Vec<usize>> {
    let all: Vec<usize> = text
        .split(',')
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    let mut different = all.clone();
    different.sort_unstable();
    different.dedup();
    (different.len() == all.len()).then_some(all)
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(cards) => {
                let ordinals: Vec<String> = cards.iter().map(ToString::to_string).collect();
                write!(f, "cuda:{}", ordinals.join(","))
            }
        }
    }
}

/// The number type of weights and activations in the forward pass. Sums are
/// kept in 32 bits whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// The fastest type whose accuracy is that of the checkpoint.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// IEEE 16-bit floats; on cards.
    F16,
    /// 8-bit integers; needs a quantised checkpoint, and the processor.
    Int8,
}

impl FromStr for Dtype {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("`{text}` is not auto, f32, bf16, f16 or int8")),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

/// An instruction set of the fused kernels, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX2 that multiplies 8-bit integers (Alder Lake).
    AvxVnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 that multiplies 8-bit integers (Ice Lake).
    Avx512Vnni,
    /// AVX-512 that multiplies bf16 too (Cooper Lake, Zen 4).
    Avx512Bf16,
    /// Tiles of bf16 and 8-bit integers (Sapphire Rapids).
    Amx,
}

impl Isa {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Portable,
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
        isa.ok_or_else(|| {
            format!(
                "`{text}` is not one of {}",
                Self::ALL.map(Self::name).join(", ")
            )
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How cuDNN's engines are chosen on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// cuDNN's first guess.
    Guess,
    /// The fastest by measurement when the network is loaded; kept in a file
    /// in this folder, if one is given.
    Measure(Option<PathBuf>),
}

/// How to use CUDA cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Forward passes that run at the same time on each card.
    pub lanes: usize,
    /// Images of the largest batch that memory and graphs are made for; larger
    /// ones run in parts.
    pub largest_batch: usize,
    /// How the engines of convolutions are chosen.
    pub tuning: Tuning,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            lanes: 2,
            largest_batch: 16,
            tuning: Tuning::Measure(None),
        }
    }
}

/// How to run a network.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where.
    pub device: DeviceChoice,
    /// In which numbers.
    pub dtype: Dtype,
    /// The highest instruction set allowed; `None` for the processor's best.
    pub isa: Option<Isa>,
    /// How to use cards, if any.
    pub cuda: CudaOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_told_alike() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3", "cuda:0,1"] {
            let choice: DeviceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(vec![0])));
        for text in ["gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:1,1"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
