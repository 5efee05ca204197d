//! Data types of weights and feature maps.

use std::fmt;
use std::str::FromStr;

/// The data type of weights and feature maps in a forward pass. Sums are kept
/// in 32 bits whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// bfloat16: 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// IEEE 16-bit floats; on GPUs only.
    F16,
    /// 8-bit integers; on the CPU only, and from a quantized checkpoint.
    Int8,
}

impl Dtype {
    /// Its name: `f32`, `bf16`, `f16` or `int8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::Int8 => 1,
        }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Bf16, Self::F16, Self::Int8];
        let named = all.into_iter().find(|dtype| dtype.name() == text);
        named.ok_or_else(|| format!("`{text}` is not f32, bf16, f16 or int8"))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
