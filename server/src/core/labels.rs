//! Labels that several metrics have in common.

use prometheus_client::encoding::EncodeLabelSet;

/// The model that a sample belongs to.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct ModelLabels {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: u64,
}
