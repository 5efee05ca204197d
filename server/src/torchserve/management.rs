//! The management of models: register, scale, describe, unregister and set the
//! default version.

use super::describe::{Description, Server};
use super::failure::Failure;
use super::version;
use crate::config::name::is_name;
use crate::config::source::{derive_name, model_source};
use crate::core::error::Error;
use crate::core::registry::registry::Registry;
use crate::core::serving::Serving;

/// Models of a page of the list unless the request says how many, and at most.
pub const PAGE: usize = 100;

/// A change of the models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is said about it.
    pub text: String,
    /// Whether it has happened; otherwise it goes on.
    pub is_done: bool,
}

impl Change {
    fn done(text: String) -> Self {
        Self {
            text,
            is_done: true,
        }
    }

    fn going_on() -> Self {
        Self {
            text: "Processing worker updates...".into(),
            is_done: false,
        }
    }
}

/// A model to add.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registration<'a> {
    /// A source that `--model` accepts.
    pub url: Option<&'a str>,
    /// The name of the model; by default that of its source.
    pub name: Option<&'a str>,
    /// Images of its largest batch, if not the server's.
    pub batch: Option<usize>,
    /// Without any, the model is not waited for.
    pub workers: usize,
    /// Whether the answer waits until the model is loaded.
    pub waits: bool,
}

/// The workers that a client wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scaling<'a> {
    /// The version, as it is written.
    pub version: Option<&'a str>,
    /// The fewest workers.
    pub fewest: Option<usize>,
    /// The most workers.
    pub most: Option<usize>,
    /// Whether the answer waits until the model is loaded.
    pub waits: bool,
}

/// The versions of a model: the newest, the one that is written, or `all`.
///
/// # Errors
/// An unknown model or version.
pub fn describe(
    serving: &Serving,
    name: &str,
    text: Option<&str>,
) -> Result<Vec<Description>, Failure> {
    let model = serving.registry().status(name)?;
    let server = Server {
        limits: serving.limits(),
        in_flight: usize::try_from(serving.metrics().images_in_flight.get()).unwrap_or(0),
    };
    let described = |version| server.describe(&model, version);
    let versions = match text {
        Some("all") => return Ok(model.versions.iter().map(described).collect()),
        Some(text) => Some(model.version(version::number(name, text)?)?),
        None => model.versions.last(),
    };
    Ok(versions.map(described).into_iter().collect())
}

/// Adds a model from a source.
///
/// # Errors
/// A source or a name that cannot be used; a model that exists, or that cannot be
/// loaded.
pub async fn register(
    registry: &Registry,
    registration: Registration<'_>,
) -> Result<Change, Failure> {
    let Registration {
        url,
        batch,
        workers,
        ..
    } = registration;
    let url = url.ok_or_else(|| Failure::Invalid("Parameter url is required.".into()))?;
    if url.contains("://") {
        return Err(Failure::Invalid(
            "url must be a checkpoint file, a folder or a repository of the Hugging Face Hub: \
             archives are not downloaded"
                .into(),
        ));
    }
    let source = model_source(url).map_err(|reason| {
        Failure::Invalid(format!("url is `{}`; it {reason}", url.escape_default()))
    })?;
    let name = match registration.name {
        Some(name) => name.to_owned(),
        None => derive_name(url).map_err(Failure::Invalid)?,
    };
    if !is_name(&name) {
        return Err(Failure::Invalid(
            "model_name must start with a letter or digit, and contain only letters, digits, `.`, \
             `_` and `-`"
                .into(),
        ));
    }
    registry.add(&name, source, batch.filter(|batch| *batch > 1))?;
    let registered = format!("Model \"{name}\" Version: 1.0 registered with {workers} initial");
    match (workers, registration.waits) {
        (0, _) => {
            let hint = "workers. Use scale workers API to add workers for the model.";
            Ok(Change::done(format!("{registered} {hint}")))
        }
        (_, false) => Ok(Change::going_on()),
        (_, true) => {
            // A model that cannot be loaded is not registered.
            if let Err(error) = registry.load(&name, None).await {
                let _ = registry.remove(&name);
                return Err(error.into());
            }
            Ok(Change::done(format!("{registered} workers")))
        }
    }
}

/// Each version has the workers that the machine has threads for; only the answer is
/// TorchServe's.
///
/// # Errors
/// An unknown model or version, fewer workers at most than at least, or a model that
/// cannot be loaded.
pub async fn scale(
    registry: &Registry,
    name: &str,
    scaling: Scaling<'_>,
) -> Result<Change, Failure> {
    let model = registry.status(name)?.name;
    let fewest = scaling.fewest.unwrap_or(1);
    if scaling.most.unwrap_or(fewest) < fewest {
        let text = "max_worker cannot be less than min_worker.";
        return Err(Failure::Invalid(text.into()));
    }
    let version = number(name, scaling.version)?;
    if !scaling.waits {
        return Ok(Change::going_on());
    }
    if registry.model_ready(&model, version).is_err() {
        registry.load(&model, version).await?;
    }
    let mut text = format!("Workers scaled to {fewest} for model: {model}");
    if let Some(version) = scaling.version {
        text += &format!(", version: {version}");
    }
    Ok(Change::done(text))
}

/// Takes a model out, or unloads a version.
///
/// # Errors
/// An unknown model or version.
pub fn unregister(
    registry: &Registry,
    name: &str,
    version: Option<&str>,
) -> Result<Change, Failure> {
    let model = registry.status(name)?.name;
    match number(name, version)? {
        Some(version) => registry.unload(&model, Some(version))?,
        None => registry.remove(&model)?,
    }
    Ok(Change::done(format!("Model \"{name}\" unregistered")))
}

/// Gives a version all requests that name none.
///
/// # Errors
/// An unknown model or version.
pub fn set_default(registry: &Registry, name: &str, version: &str) -> Result<Change, Failure> {
    let model = registry.status(name)?.name;
    registry.set_default_version(&model, version::number(name, version)?)?;
    Ok(Change::done(format!(
        "Default version successfully updated for model \"{model}\" to \"{version}\""
    )))
}

fn number(name: &str, version: Option<&str>) -> Result<Option<u64>, Error> {
    version.map(|text| version::number(name, text)).transpose()
}
