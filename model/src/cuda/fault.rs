//! What CUDA and cuDNN answer when they fail.

use candle_core::cuda_backend::cudarc::cudnn::sys::cudnnStatus_t;
use candle_core::cuda_backend::cudarc::driver::{DriverError, sys::CUresult};

/// A call that failed on a card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A call of the CUDA driver.
    #[error("CUDA driver: {0}")]
    Driver(#[from] DriverError),
    /// A call of cuDNN.
    #[error("cuDNN: {call}: {status:?}")]
    Dnn {
        /// What was called, and for what.
        call: &'static str,
        /// Its answer.
        status: cudnnStatus_t,
    },
    /// cuDNN has no engine for a convolution on this card.
    #[error("cuDNN has no engine for {convolution} (the last one tried: {reason})")]
    NoEngine {
        /// The convolution.
        convolution: String,
        /// Why the last engine did not do.
        reason: String,
    },
    /// A rule of our own is broken: ours to fix.
    #[error("internal: {0}")]
    Internal(String),
}

impl Fault {
    /// Whether the card's memory did not suffice.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Driver(DriverError(code)) => *code == CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            Self::Dnn { status, .. } => {
                *status == cudnnStatus_t::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
            }
            _ => false,
        }
    }
}
