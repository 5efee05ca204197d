//! Errors of the CUDA driver and of cuDNN.

use candle_core::cuda_backend::cudarc::cudnn::sys::cudnnStatus_t;
use candle_core::cuda_backend::cudarc::driver::{DriverError, sys::CUresult};

/// A CUDA or cuDNN call that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// A CUDA driver call failed.
    #[error("CUDA driver: {0}")]
    Driver(#[from] DriverError),
    /// A cuDNN call failed.
    #[error("cuDNN: {call}: {status:?}")]
    Cudnn {
        /// Name of the function.
        call: &'static str,
        /// Status it returned.
        status: cudnnStatus_t,
    },
    /// cuDNN has no engine that runs a convolution on this GPU.
    #[error("cuDNN has no engine for {convolution} (error of the last one tried: {reason})")]
    NoEngine {
        /// The convolution.
        convolution: String,
        /// Why the last engine failed.
        reason: String,
    },
    /// An internal invariant does not hold. This is a bug in this crate.
    #[error("internal error: {0}")]
    Internal(String),
}

impl CudaError {
    /// Whether the GPU ran out of memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Driver(DriverError(code)) => *code == CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            Self::Cudnn { status, .. } => {
                *status == cudnnStatus_t::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
            }
            _ => false,
        }
    }
}
