//! The compute capability that each [`Dtype`] needs, and the encoding of its
//! values in device memory.

use half::{bf16, f16};

use crate::dtype::Dtype;
use crate::error::{Error, Result};

impl Dtype {
    /// The lowest compute capability that supports it: major, minor.
    #[must_use]
    pub fn capability(self) -> (i32, i32) {
        match self {
            Self::Bf16 => (8, 0),
            // the lowest that cuDNN 9 and CUDA 13 support
            Self::F16 | Self::F32 | Self::Int8 => (7, 5),
        }
    }

    /// Checks that the CUDA backend supports the dtype.
    ///
    /// # Errors
    /// The dtype is int8.
    pub(super) fn check_on_gpu(self) -> Result<Self> {
        match self {
            Self::F16 | Self::Bf16 | Self::F32 => Ok(self),
            Self::Int8 => Err(Error::Option {
                option: "dtype int8".into(),
                reason: "the CUDA backend supports f16, bf16 and f32".into(),
            }),
        }
    }

    /// Converts `values` to this dtype, little-endian.
    pub(super) fn encode(self, values: &[f32]) -> Vec<u8> {
        let each = values.iter();
        match self {
            Self::F16 => each.flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::Bf16 => each
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
            Self::F32 | Self::Int8 => each.flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// Converts little-endian values of this dtype to f32.
    pub(super) fn decode(self, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
        bytes
            .chunks_exact(self.bytes())
            .map(move |bytes| match (self, bytes) {
                (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
                (Self::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
                (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
                // unreachable: every chunk is two or four bytes long
                _ => f32::NAN,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_and_decoding_round_trips() {
        let values = [0.0, 1.0, -2.5, 0.125, 1024.0];
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32] {
            let bytes = dtype.encode(&values);
            assert_eq!(bytes.len(), values.len() * dtype.bytes());
            assert_eq!(dtype.decode(&bytes).collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn int8_is_rejected() {
        let error = Dtype::Int8.check_on_gpu().unwrap_err().to_string();
        assert!(error.contains("int8") && error.contains("f16"), "{error}");
    }
}
