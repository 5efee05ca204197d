//! Why a request has no response, in the words of TensorFlow Serving, which clients
//! look for.

use crate::core::error::Error;

/// What is wrong with what a request names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No version is loaded.
    #[error("Servable not found for request: Latest({0})")]
    NoServable(String),
    /// The model does not have this version.
    #[error("Servable not found for request: Specific({model}, {version})")]
    NoVersion {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// The status of an unknown model.
    #[error("Could not find any versions of model {0}")]
    NoStatus(String),
    /// The status of an unknown version.
    #[error("Could not find version {version} of model {model}")]
    NoVersionStatus {
        /// The model.
        model: String,
        /// The version.
        version: u64,
    },
    /// The label stands for no version.
    #[error("Unrecognized servable version label: {}", .0.escape_default())]
    UnknownLabel(String),
}

impl Failure {
    /// Whether something does not exist; otherwise the request is wrong.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        !matches!(self, Self::UnknownLabel(_))
    }
}

/// The text of an error of the core, where it has another one.
#[must_use]
pub fn words(error: &Error) -> Option<String> {
    let failure = match error {
        Error::UnknownModel { name } => Failure::NoServable(name.clone()),
        Error::UnknownVersion { name, version, .. } => Failure::NoVersion {
            model: name.clone(),
            version: version.clone(),
        },
        _ => return None,
    };
    Some(failure.to_string())
}
