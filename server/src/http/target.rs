//! The model that a request's path names.

use serde::Deserialize;

use crate::core::error::Error;

/// Parameters of `/models/{name}/versions/{version}/...`; empty for the
/// default model.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Target {
    pub(super) name: Option<String>,
    /// Text: what is no number is an unknown version, not a bad request.
    version: Option<String>,
}

impl Target {
    /// The version, if the path has one.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for anything but a number.
    pub(super) fn version(&self) -> Result<Option<u64>, Error> {
        let Some(text) = &self.version else {
            return Ok(None);
        };
        let version = text.parse().map_err(|_| {
            let name = self.name.clone().unwrap_or_default();
            Error::UnknownVersion {
                available: format!("listed by GET /models/{name}"),
                name,
                version: text.clone(),
            }
        });
        version.map(Some)
    }

    /// The version as it is written in the path.
    pub(super) fn version_text(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Name of the model.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}
