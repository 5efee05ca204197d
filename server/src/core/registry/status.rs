//! What is reported about the models.

use std::sync::Arc;

use super::slot::State;
use crate::core::error::Error;
use crate::core::instance::Instance;

/// A model and its versions.
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Where its checkpoints are.
    pub source: String,
    /// Whether requests that name no model get it.
    pub is_default: bool,
    /// In ascending order.
    pub versions: Vec<VersionStatus>,
    /// Why its versions cannot be listed.
    pub error: Option<String>,
}

impl ModelStatus {
    /// The status of one version.
    ///
    /// # Errors
    /// A version that the model does not have.
    pub fn version(&self, version: u64) -> Result<&VersionStatus, Error> {
        let found = self.versions.iter().find(|found| found.version == version);
        found.ok_or_else(|| {
            let available = self.versions.iter().map(|found| found.version);
            Error::unknown_version(&self.name, version, available)
        })
    }
}

/// A version of a model.
pub struct VersionStatus {
    /// Its number.
    pub version: u64,
    /// Its state.
    pub state: State,
    /// Why the last load failed, or why it is unloaded.
    pub reason: Option<String>,
    /// What is loaded.
    pub instance: Option<Arc<Instance>>,
}

/// Which of the models to load at start have been loaded, are loading, or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the configuration has been applied.
    pub configured: bool,
    /// Names of those whose first load is not finished.
    pub loading: Vec<String>,
    /// Names of those without any version in memory, each with the reason.
    pub failed: Vec<(String, String)>,
    /// Loaded instances whose device is lost, as `name/version`.
    pub lost: Vec<String>,
}
