//! The registry: finds the instance for a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, Semaphore};

use super::entry::Entry;
use super::loader::Loader;
use super::slot::{Slot, State};
use super::status::{ModelStatus, Readiness, VersionStatus};
use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::limits::Limits;
use crate::core::metrics::Metrics;
use crate::core::scheduler::Scheduler;
use crate::core::spec::LoadPolicy;

/// Loads that run at the same time. Each needs memory and the thread pool.
const CONCURRENT_LOADS: usize = 2;

/// The reason for a version that was never loaded and did not fail.
const NOT_LOADED: &str = "it is not loaded";

/// All models of the server. Cloning it copies a reference.
#[derive(Clone)]
pub struct Registry(pub(super) Arc<Shared>);

/// What loads and lookups share.
pub(super) struct Shared {
    pub(super) models: RwLock<Models>,
    pub(super) loader: Box<dyn Loader>,
    pub(super) limits: Limits,
    /// Bytes of all models together.
    pub(super) memory_limit: Option<usize>,
    pub(super) scheduler: Scheduler,
    pub(super) metrics: Arc<Metrics>,
    pub(super) load_permits: Semaphore,
    /// Notified after each load.
    pub(super) loaded: Notify,
    /// Held while instances are put in place or taken out, so that their memory
    /// and metrics are consistent.
    pub(super) accounting: Mutex<()>,
    /// Held while a configuration is applied.
    pub(super) applying: Mutex<()>,
}

#[derive(Default)]
pub(super) struct Models {
    pub(super) entries: BTreeMap<String, Arc<Entry>>,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) default: String,
    /// Whether it is known which models there are.
    pub(super) configured: bool,
}

impl Registry {
    /// A registry without models. `memory_limit` is in bytes, for all models.
    #[must_use]
    pub fn new(
        loader: Box<dyn Loader>,
        limits: Limits,
        memory_limit: Option<usize>,
        scheduler: Scheduler,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Shared {
            models: RwLock::default(),
            loader,
            limits,
            memory_limit,
            scheduler,
            metrics,
            load_permits: Semaphore::new(CONCURRENT_LOADS),
            loaded: Notify::new(),
            accounting: Mutex::default(),
            applying: Mutex::default(),
        }))
    }

    /// The instance for a request: of the default model where no model is
    /// named, and of the version that the model's traffic split picks where no
    /// version is. Waits while a model is loaded on demand.
    ///
    /// # Errors
    /// An unknown model or version; one that is not loaded and cannot be; a
    /// lost device.
    pub async fn find(
        &self,
        name: Option<&str>,
        version: Option<u64>,
    ) -> Result<Arc<Instance>, Error> {
        let entry = self.entry(name)?;
        let slot = entry.find(version)?;
        if let Some(instance) = slot.instance() {
            return usable(instance);
        }
        if entry.on_demand() {
            let loaded = self.load_if_missing(&entry, &slot).await;
            return loaded.map_err(|reason| unavailable(&entry, &slot, reason));
        }
        Err(not_loaded(&entry, &slot))
    }

    /// Whether requests for a model can be served now.
    ///
    /// # Errors
    /// As [`Registry::find`]; a model that is loaded on demand counts as ready.
    pub fn model_ready(&self, name: &str, version: Option<u64>) -> Result<(), Error> {
        let entry = self.entry(Some(name))?;
        let slot = entry.find(version)?;
        let (instance, state) = {
            let inner = slot.lock();
            (inner.instance.clone(), inner.state)
        };
        match (instance, state) {
            (Some(instance), _) => usable(instance).map(drop),
            (None, State::Unloaded) if entry.on_demand() => Ok(()),
            (None, _) => Err(not_loaded(&entry, &slot)),
        }
    }

    /// Waits until the first load of every model that is loaded at start has
    /// succeeded or failed.
    pub async fn wait_until_loaded(&self) {
        loop {
            let mut loaded = std::pin::pin!(self.0.loaded.notified());
            loaded.as_mut().enable();
            if self.readiness().loading.is_empty() {
                return;
            }
            loaded.await;
        }
    }

    /// All models, in the order of their names.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        let models = self.0.read();
        let status = |entry: &Arc<Entry>| status(entry, &models.default);
        models.entries.values().map(status).collect()
    }

    /// One model, by its name or an alias.
    ///
    /// # Errors
    /// An unknown model.
    pub fn status(&self, name: &str) -> Result<ModelStatus, Error> {
        let entry = self.entry(Some(name))?;
        let default = self.0.read().default.clone();
        Ok(status(&entry, &default))
    }

    /// Bytes of all loaded models.
    #[must_use]
    pub fn memory(&self) -> usize {
        let entries = self.0.entries();
        let slots = entries.iter().flat_map(|entry| entry.slots());
        let loaded = slots.filter_map(|slot| slot.lock().instance.clone());
        loaded.map(|instance| instance.memory()).sum()
    }

    /// Bytes that all loaded models may take together.
    #[must_use]
    pub fn memory_limit(&self) -> Option<usize> {
        self.0.memory_limit
    }

    /// Which of the models to load at start have been loaded, are loading, or failed.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut readiness = Readiness {
            configured: self.0.read().configured,
            ..Readiness::default()
        };
        for entry in self.0.entries() {
            let spec = entry.spec();
            let slots = entry.slots();
            let instances = slots.iter().filter_map(|slot| slot.lock().instance.clone());
            for instance in instances {
                if instance.network().device_error().is_some() {
                    readiness.lost.push(instance.name_and_version());
                }
            }
            if spec.load == LoadPolicy::OnDemand {
                continue;
            }
            if entry.is_starting() {
                readiness.loading.push(spec.name.clone());
            } else if !slots.iter().any(|slot| slot.is_ready()) && !entry.is_loading() {
                let mut reasons = slots.iter().filter_map(|slot| slot.lock().reason.clone());
                let reason = reasons.next_back().or_else(|| entry.error());
                let reason = reason.unwrap_or_else(|| NOT_LOADED.into());
                readiness.failed.push((spec.name.clone(), reason));
            }
        }
        readiness
    }

    /// The entry of a model by its name or an alias; the default without one.
    pub(super) fn entry(&self, name: Option<&str>) -> Result<Arc<Entry>, Error> {
        let models = self.0.read();
        let name = name.unwrap_or(&models.default);
        let name = models.aliases.get(name).map_or(name, String::as_str);
        let entry = models.entries.get(name).cloned();
        entry.ok_or_else(|| Error::UnknownModel {
            name: name.to_owned(),
        })
    }
}

impl Shared {
    /// All models, in the order of their names.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.values().cloned().collect()
    }

    pub(super) fn read(&self) -> std::sync::RwLockReadGuard<'_, Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> std::sync::RwLockWriteGuard<'_, Models> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usable(instance: Arc<Instance>) -> Result<Arc<Instance>, Error> {
    match instance.network().device_error() {
        None => Ok(instance),
        // The log has the device and its error.
        Some(_) => Err(Error::DeviceLost {
            model: instance.name_and_version(),
        }),
    }
}

/// Why a version without an instance cannot be used.
fn not_loaded(entry: &Entry, slot: &Slot) -> Error {
    let (state, reason) = {
        let inner = slot.lock();
        (inner.state, inner.reason.clone())
    };
    match state {
        State::Loading => Error::Starting {
            models: entry.spec().name.clone(),
        },
        _ => unavailable(entry, slot, reason.unwrap_or_else(|| NOT_LOADED.into())),
    }
}

pub(super) fn unavailable(entry: &Entry, slot: &Slot, reason: String) -> Error {
    Error::ModelUnavailable {
        model: format!("{}/{}", entry.spec().name, slot.version),
        reason,
    }
}

fn status(entry: &Arc<Entry>, default: &str) -> ModelStatus {
    let spec = entry.spec();
    let version = |slot: Arc<Slot>| {
        let inner = slot.lock();
        VersionStatus {
            version: slot.version,
            state: inner.state,
            reason: inner.reason.clone(),
            instance: inner.instance.clone(),
        }
    };
    ModelStatus {
        name: spec.name.clone(),
        aliases: spec.aliases.clone(),
        source: spec.source.to_string(),
        is_default: spec.name == default,
        versions: entry.slots().into_iter().map(version).collect(),
        error: entry.error(),
    }
}
