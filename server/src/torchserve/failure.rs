//! Why a request has no response, in the words of TorchServe, which clients look
//! for.

use crate::core::error::Error;

/// The start of the text for an unknown version.
pub const VERSION: &str = "Model version: ";

/// Why a change of the models failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Any other reason.
    #[error("{}", words(.0).unwrap_or_else(|| .0.to_string()))]
    Core(#[from] Error),
}

/// The text of an error of the core, where it has another one.
#[must_use]
pub fn words(error: &Error) -> Option<String> {
    match error {
        Error::UnknownModel { name } => Some(format!("Model not found: {name}")),
        Error::UnknownVersion { name, version, .. } => Some(format!(
            "{VERSION}{version} does not exist for model: {name}"
        )),
        Error::ModelExists { name } => Some(format!(
            "Model version 1.0 is already registered for model {name}"
        )),
        _ => None,
    }
}
