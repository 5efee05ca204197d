//! What is reported about a model: the states of its versions, and the version that
//! is described.

use std::sync::Arc;

use super::failure::Failure;
use super::version::Version;
use crate::core::instance::Instance;
use crate::core::registry::registry::Registry;
use crate::core::registry::status::VersionStatus;

/// The state of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being loaded.
    Loading,
    /// It is loaded.
    Available,
    /// It is not loaded.
    End,
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionState {
    /// Its number.
    pub version: u64,
    /// Its state.
    pub state: State,
    /// Why its load failed, if it did.
    pub error: Option<String>,
}

impl VersionState {
    fn new(status: &VersionStatus) -> Self {
        let name = status.state.name();
        let state = match name {
            "ready" => State::Available,
            "loading" => State::Loading,
            _ => State::End,
        };
        let failed = name == "failed";
        Self {
            version: status.version,
            state,
            error: failed.then(|| status.reason.clone().unwrap_or_default()),
        }
    }
}

/// The states of the versions that a request means, and the number of the version if
/// it means one.
///
/// # Errors
/// There are none.
pub fn states(
    registry: &Registry,
    name: &str,
    version: &Version,
) -> Result<(Vec<VersionState>, Option<u64>), Failure> {
    let unknown = |_| Failure::NoStatus(name.to_owned());
    let model = registry.status(name).map_err(unknown)?;
    let number = version.number(&model, name)?;
    let versions = model.versions.iter();
    let versions = versions.filter(|v| number.is_none_or(|number| number == v.version));
    let states: Vec<VersionState> = versions.map(VersionState::new).collect();
    match (number, states.is_empty()) {
        (Some(version), true) => Err(Failure::NoVersionStatus {
            model: name.to_owned(),
            version,
        }),
        _ => Ok((states, number)),
    }
}

/// The version that metadata describe: the newest of those that a request means and
/// that are loaded.
///
/// # Errors
/// There is none.
pub fn described(
    registry: &Registry,
    name: &str,
    version: &Version,
) -> Result<Arc<Instance>, Failure> {
    let missing = || Failure::NoServable(name.to_owned());
    let model = registry.status(name).map_err(|_| missing())?;
    let number = version.number(&model, name)?;
    let versions = model.versions.iter().rev();
    let mut versions = versions.filter(|v| number.is_none_or(|number| number == v.version));
    let loaded = versions.find_map(|v| v.instance.clone());
    loaded.ok_or_else(|| match number {
        None => missing(),
        Some(version) => Failure::NoVersion {
            model: name.to_owned(),
            version: version.to_string(),
        },
    })
}
