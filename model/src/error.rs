//! Errors of loading and running a network.

use crate::dtype::Dtype;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of loading or running a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The device that was asked for cannot be used.
    #[error("device `{device}` cannot be used: {reason}")]
    Device {
        /// As asked for.
        device: String,
        /// What is missing.
        reason: String,
    },
    /// An option that this machine, build or checkpoint does not support.
    #[error("`{option}` cannot be used: {reason}")]
    Option {
        /// The option and its value.
        option: String,
        /// What is missing.
        reason: String,
    },
    /// No architecture of the family matches the checkpoint.
    #[error("{0}")]
    Architecture(String),
    /// The input is not whole images of the network's size.
    #[error("batch: {0}")]
    Batch(String),
    /// An output that this network does not have.
    #[error("this network has no {output}: no global pooling precedes its classifier")]
    MissingOutput {
        /// `embedding` or `feature map`.
        output: &'static str,
    },
    /// The kernels compute wrong logits on this machine.
    #[error(
        "self-check of {backend}: the logits differ from those of the portable kernels in \
         {reference} by {difference:.1e} of the largest logit, more than the {tolerance:.0e} that \
         rounding explains; choose another device, dtype or instruction set, or the candle engine"
    )]
    SelfCheck {
        /// Engine, device, dtype and instruction set.
        backend: String,
        /// The data type of the portable kernels.
        reference: Dtype,
        /// Largest absolute difference over the largest absolute logit.
        difference: f32,
        /// The largest that is allowed.
        tolerance: f32,
    },
    /// A broken invariant of this crate: a bug.
    #[error("internal: {0}")]
    Internal(String),
    /// A GPU failed while the network was loaded or run.
    #[cfg(feature = "cuda")]
    #[error("cuda:{ordinal}: {error}")]
    Cuda {
        /// Device ordinal of the GPU.
        ordinal: usize,
        /// The call that failed, and its status.
        error: crate::cuda::CudaError,
    },
    /// An operation of candle failed.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Whether the device failed whatever its input was: a retry with the same
    /// batch, or with a part of it, fails too.
    #[must_use]
    pub fn is_the_devices(&self) -> bool {
        match self {
            Self::Device { .. } => true,
            #[cfg(feature = "cuda")]
            Self::Cuda { .. } => true,
            _ => false,
        }
    }
}
