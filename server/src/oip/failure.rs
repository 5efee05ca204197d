//! Why a request has no response, in the words of Triton, which clients look for.

use crate::core::error::Error;

/// Why a request has no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// An extension that this server does not have.
    #[error("{0}")]
    Unsupported(String),
    /// Any other reason.
    #[error("{}", text(.0))]
    Core(#[from] Error),
}

/// The text of an error of the core.
fn text(error: &Error) -> String {
    match error {
        Error::UnknownModel { name } => {
            format!("Request for unknown model: '{name}' is not found")
        }
        Error::UnknownVersion { name, version, .. } => {
            format!("Request for unknown model: '{name}' version {version} is not found")
        }
        Error::ModelUnavailable { model, reason } => {
            format!("Request for unknown model: '{model}' is not at ready state: {reason}")
        }
        Error::DeadlineExceeded { .. } => format!("Request timeout expired: {error}"),
        Error::QueueFull | Error::TooManyInFlight { .. } => {
            format!("Exceeds maximum queue size: {error}")
        }
        other => other.to_string(),
    }
}
