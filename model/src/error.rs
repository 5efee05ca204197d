//! Errors of loading and running a network.

use crate::dtype::Dtype;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of loading or running a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The requested device cannot be used.
    #[error("device `{device}` cannot be used: {reason}")]
    Device {
        /// The requested device.
        device: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// An option is not supported by this machine, build or checkpoint.
    #[error("`{option}` cannot be used: {reason}")]
    Option {
        /// The option and its value.
        option: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// No architecture has this name, or none matches the checkpoint.
    #[error("{0}")]
    Architecture(String),
    /// The input does not consist of whole images of the network's size.
    #[error("invalid batch: {0}")]
    Batch(String),
    /// The requested output does not exist in this network.
    #[error("this network has no {output}: it does not end with global pooling and a classifier")]
    MissingOutput {
        /// `embedding` or `feature map`.
        output: &'static str,
    },
    /// The network has no class activation maps.
    #[error("this network has no class activation maps: {0}")]
    ClassMaps(#[from] NoClassMaps),
    /// The self-check found wrong logits: the kernels do not work on this machine.
    #[error(
        "the self-check of {backend} failed: the logits differ from those of the portable kernels \
         in {reference} by {difference:.1e} of the largest logit, but rounding causes at most \
         {tolerance:.0e}; choose another device, dtype or instruction set, or the candle engine"
    )]
    SelfCheck {
        /// Engine, device, dtype and instruction set.
        backend: String,
        /// The data type of the portable kernels.
        reference: Dtype,
        /// Largest absolute difference, divided by the largest absolute logit.
        difference: f32,
        /// The largest difference that is allowed.
        tolerance: f32,
    },
    /// A bug in this crate: an invariant does not hold.
    #[error("internal error: {0}")]
    Internal(String),
    /// A GPU failed while it loaded or ran the network.
    #[cfg(feature = "cuda")]
    #[error("cuda:{ordinal}: {error}")]
    Cuda {
        /// The device ordinal of the GPU.
        ordinal: usize,
        /// The call that failed, and its status.
        error: crate::cuda::CudaError,
    },
    /// An operation of candle failed.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

/// The error for a class that a network does not have. Callers know the classes.
pub(crate) fn no_such_class(class: usize, classes: usize) -> Error {
    Error::Internal(format!("class {class} of {classes}"))
}

impl Error {
    /// Whether the device caused the error, independent of the input. If so, a
    /// retry with the same batch or a part of it fails too.
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

/// Why a network has no class activation maps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoClassMaps {
    /// Its last operation is not linear.
    #[error("it does not end with a linear classifier")]
    NoClassifier,
    /// The classifier does not read the pooled feature map itself.
    #[error("its classifier reads {input}, not the mean of the last feature map")]
    NotPooled {
        /// The operation that the classifier reads.
        input: String,
    },
    /// The network is not one of the family.
    #[error("its operations are not known")]
    Unknown,
}
