//! What can go wrong between a checkpoint and its logits.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of loading or running a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint is at fault.
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
    /// An option does not fit this machine or build.
    #[error("`{option}` cannot be used: {reason}")]
    Option {
        /// The option and its value.
        option: String,
        /// What is missing.
        reason: String,
    },
    /// No row of the family fits the checkpoint.
    #[error("{0}")]
    Architecture(String),
    /// The caller's batch has the wrong size.
    #[error("batch: {0}")]
    Batch(String),
    /// A rule of our own is broken: ours to fix.
    #[error("internal: {0}")]
    Internal(String),
    /// A card failed while the network was loaded or run.
    #[cfg(feature = "cuda")]
    #[error("cuda:{ordinal}: {fault}")]
    Cuda {
        /// The card.
        ordinal: usize,
        /// What failed.
        fault: crate::cuda::Fault,
    },
    /// candle failed: ours to fix.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Whether the device failed, whatever it was given: the same batch again,
    /// or a part of it, is no better off.
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
