//! Which version of a model a request means.

use super::failure::Failure;
use crate::core::registry::status::ModelStatus;

/// The version in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// None is named.
    Any,
    /// A number: more digits than fit are a number that does not exist.
    Number(String),
    /// The name of a version.
    Label(String),
}

impl Version {
    /// The number of the version; `None` if the server chooses it. The label
    /// `stable` stands for the one that requests without a version get, `latest` for
    /// the newest.
    ///
    /// # Errors
    /// Another label, or a number that no version can have.
    pub fn number(&self, model: &ModelStatus, name: &str) -> Result<Option<u64>, Failure> {
        match self {
            Self::Any => Ok(None),
            Self::Number(text) => text.parse().map(Some).map_err(|_| Failure::NoVersion {
                model: name.to_owned(),
                version: text.clone(),
            }),
            Self::Label(label) => match label.as_str() {
                "stable" => Ok(None),
                "latest" => Ok(model.versions.last().map(|v| v.version)),
                _ => Err(Failure::UnknownLabel(label.clone())),
            },
        }
    }
}
