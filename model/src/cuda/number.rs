//! The number types that weights and maps are stored in on a card.

use half::{bf16, f16};

/// How a value is stored. Sums are always in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Single precision.
    F32,
}

impl Number {
    /// Bytes of a value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// Its name, which ends the kernels' names too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// The least compute capability that multiplies it: major, minor.
    #[must_use]
    pub fn capability(self) -> (i32, i32) {
        match self {
            Self::Bf16 => (8, 0),
            // cuDNN 9 and CUDA 13 end there
            Self::F16 | Self::F32 => (7, 5),
        }
    }

    /// `values` as a card stores them.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        let each = values.iter();
        match self {
            Self::F16 => each.flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::Bf16 => each
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
            Self::F32 => each.flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The values that `bytes` store.
    pub(crate) fn decode(self, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
        bytes
            .chunks_exact(self.bytes())
            .map(move |bytes| match (self, bytes) {
                (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
                (Self::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
                (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
                // chunks of another length do not come
                _ => f32::NAN,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let values = [0.0, 1.0, -2.5, 0.125, 1024.0];
        for number in [Number::F16, Number::Bf16, Number::F32] {
            let bytes = number.encode(&values);
            assert_eq!(bytes.len(), values.len() * number.bytes());
            assert_eq!(number.decode(&bytes).collect::<Vec<_>>(), values);
        }
    }
}
