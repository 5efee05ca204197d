//! Loading, replacing, unloading and evicting versions. A new instance is
//! loaded and warm before it replaces the old one; requests in flight keep a
//! reference to the instance that they started on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::loader::{Fingerprint, LoadError};
use super::registry::{Registry, Shared, unavailable};
use super::slot::{Slot, State};
use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::labels::ModelLabels;
use crate::core::memory::LargeBlocksReturned;
use crate::core::network::Network;

/// Why a version that was unloaded on request is not served.
const UNLOADED: &str = "it was unloaded; load it with POST /models/{name}/load on the admin port";

/// Further attempts of a request to load a model that was unloaded meanwhile.
const RETRIES: usize = 3;

/// Time during which requests for a model that failed to load on demand fail
/// without another attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Attempts to load files that change during the load.
const MAX_ATTEMPTS: usize = 3;

impl Registry {
    /// Serves `network` as a version of a model that the registry has: a
    /// network that was loaded by other means.
    ///
    /// # Errors
    /// An unknown model; a network that cannot run.
    pub fn publish(
        &self,
        name: &str,
        version: u64,
        network: Arc<dyn Network>,
    ) -> Result<(), PublishError> {
        let entry = self.entry(Some(name))?;
        let slot = entry.add(version);
        let generation = slot.generation();
        let instance = self.0.start(&entry, version, network)?;
        let files = self.0.loader.fingerprint(&entry.spec(), version);
        self.0
            .install(&slot, generation, files, Arc::new(instance))?;
        Ok(())
    }

    /// Loads a version, or all versions that are served, again. The versions
    /// that are loaded go on serving meanwhile, and after a failure.
    ///
    /// # Errors
    /// An unknown model or version; the first load that failed.
    pub async fn load(&self, name: &str, version: Option<u64>) -> Result<(), Error> {
        let entry = self.entry(Some(name))?;
        let selected = self.follow_versions(&entry);
        let slots = targets(&entry, version)?.into_iter();
        // Versions that no longer exist serve only until the others are loaded.
        for slot in slots.filter(|slot| version.is_some() || selected.contains(&slot.version)) {
            let queued = slot.lock().state == State::Loading;
            let loaded = match queued {
                true => self.load_if_missing(&entry, &slot).await,
                false => self.reload(&entry, &slot).await,
            };
            loaded.map_err(|reason| unavailable(&entry, &slot, reason))?;
        }
        self.follow_versions(&entry);
        Ok(())
    }

    /// Unloads a version, or all versions, of a model. Requests in flight finish.
    ///
    /// # Errors
    /// An unknown model or version.
    pub fn unload(&self, name: &str, version: Option<u64>) -> Result<(), Error> {
        let entry = self.entry(Some(name))?;
        for slot in targets(&entry, version)? {
            let reason = (!entry.on_demand()).then_some(UNLOADED);
            slot.lock().follows_files = false;
            self.0.take_out(&slot, reason, "unloaded on request");
        }
        Ok(())
    }

    /// Loads a version in the background. `generation` is that of the slot when
    /// the load was queued.
    pub(super) fn start_load(&self, entry: &Arc<Entry>, slot: &Arc<Slot>, generation: u64) {
        let registry = self.clone();
        let (entry, slot) = (Arc::clone(entry), Arc::clone(slot));
        tokio::spawn(async move { _ = registry.run_load(&entry, &slot, Some(generation)).await });
    }

    /// Loads a version whether or not it is loaded.
    async fn reload(&self, entry: &Arc<Entry>, slot: &Arc<Slot>) -> Result<Arc<Instance>, String> {
        self.run_load(entry, slot, Some(slot.queued())).await
    }

    /// The instance of a version, which is loaded first if it is not.
    pub(super) async fn load_if_missing(
        &self,
        entry: &Arc<Entry>,
        slot: &Arc<Slot>,
    ) -> Result<Arc<Instance>, String> {
        let registry = self.clone();
        let (entry, slot) = (Arc::clone(entry), Arc::clone(slot));
        // A task: the load goes on when the request that began it is cancelled.
        let load = tokio::spawn(async move {
            for _ in 0..RETRIES {
                let loaded = registry.run_load(&entry, &slot, None).await;
                // A load that an unload interrupts has no error to report.
                if loaded.is_ok() || slot.lock().reason.is_some() {
                    return loaded;
                }
            }
            registry.run_load(&entry, &slot, None).await
        });
        load.await
            .unwrap_or_else(|_| Err(LoadError::Panicked.to_string()))
    }

    /// Loads a version: again if the load was queued in a `generation`, else
    /// only if it is not loaded.
    async fn run_load(
        &self,
        entry: &Arc<Entry>,
        slot: &Arc<Slot>,
        generation: Option<u64>,
    ) -> Result<Arc<Instance>, String> {
        let _one_at_a_time = slot.loading.lock().await;
        let generation = if let Some(generation) = generation {
            generation
        } else {
            if let Some(instance) = slot.instance() {
                return Ok(instance);
            }
            if let Some(reason) = slot.failed_recently(RETRY_PAUSE) {
                return Err(reason);
            }
            slot.queued()
        };
        // The semaphore is never closed.
        let _permit = self.0.load_permits.acquire().await;
        let (shared, entry, slot) = (Arc::clone(&self.0), Arc::clone(entry), Arc::clone(slot));
        let load = move || shared.load_blocking(&entry, &slot, generation);
        let loaded = tokio::task::spawn_blocking(load).await;
        self.0.loaded.notify_waiters();
        loaded.unwrap_or_else(|_| Err(LoadError::Panicked.to_string()))
    }
}

/// Why a network cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The registry has no such model.
    #[error(transparent)]
    Model(#[from] Error),
    /// It cannot run, or does not fit the limit on memory.
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn targets(entry: &Entry, version: Option<u64>) -> Result<Vec<Arc<Slot>>, Error> {
    let slots = match version {
        Some(_) => vec![entry.find(version)?],
        None => entry.slots(),
    };
    if slots.is_empty() {
        entry.find(None)?;
    }
    Ok(slots)
}

impl Shared {
    fn load_blocking(
        &self,
        entry: &Entry,
        slot: &Slot,
        generation: u64,
    ) -> Result<Arc<Instance>, String> {
        let spec = entry.spec();
        let (model, version) = (&spec.name, slot.version);
        let began = Instant::now();
        // The page faults of new mappings would slow the start of the server.
        let again = slot.lock().tried;
        let _memory = again.then(LargeBlocksReturned::during_load);
        let mut attempts = 0;
        let (files, loaded) = loop {
            attempts += 1;
            let files = self.loader.fingerprint(&spec, version);
            let load = || self.load_instance(entry, slot, generation, files);
            let loaded = catch_unwind(AssertUnwindSafe(load)).unwrap_or(Err(LoadError::Panicked));
            let changed = matches!(loaded, Err(LoadError::Changed));
            if !changed || attempts == MAX_ATTEMPTS {
                break (files, loaded);
            }
            tracing::info!(
                model,
                version,
                "the files changed during the load; loading again"
            );
        };
        match loaded {
            Ok(instance) => {
                let info = instance.network().info();
                self.metrics.load_took(model, began.elapsed());
                tracing::info!(
                    model,
                    version,
                    architecture = info.architecture,
                    device = %info.device,
                    dtype = %info.dtype,
                    isa = info.isa,
                    digest = info.digest,
                    memory = instance.memory(),
                    load_ms = began.elapsed().as_millis() as u64,
                    "loaded"
                );
                Ok(instance)
            }
            Err(error @ LoadError::Unloaded) => {
                tracing::info!(model, version, "unloaded during the load");
                Err(error.to_string())
            }
            Err(error) => {
                self.metrics.load_failed(model);
                let serving = slot.is_ready();
                tracing::error!(model, version, %error, previous_version_serves = serving, "load failed");
                slot.failed(generation, files, &error);
                Err(error.to_string())
            }
        }
    }

    fn load_instance(
        &self,
        entry: &Entry,
        slot: &Slot,
        generation: u64,
        files: Option<Fingerprint>,
    ) -> Result<Arc<Instance>, LoadError> {
        if slot.generation() != generation {
            return Err(LoadError::Unloaded);
        }
        let spec = entry.spec();
        let estimate = self.loader.estimate(&spec, slot.version);
        {
            let _accounting = self.account();
            self.make_room(slot, estimate)?;
        }
        let pool = self.scheduler.pool();
        let network = self.loader.load(&spec, slot.version, pool)?;
        if self.loader.fingerprint(&spec, slot.version) != files {
            return Err(LoadError::Changed);
        }
        let instance = Arc::new(self.start(entry, slot.version, network)?);
        self.install(slot, generation, files, Arc::clone(&instance))?;
        Ok(instance)
    }

    /// Warms a network up and starts its workers.
    fn start(
        &self,
        entry: &Entry,
        version: u64,
        network: Arc<dyn Network>,
    ) -> Result<Instance, LoadError> {
        let spec = entry.spec();
        let labels = ModelLabels {
            model: spec.name.clone(),
            version,
        };
        let instance = Instance::start(
            labels,
            network,
            spec.max_batch.unwrap_or(self.limits.max_batch),
            &self.limits,
            &self.scheduler,
            Arc::clone(&self.metrics),
        )?;
        Ok(instance.with_floats(spec.floats))
    }

    /// Puts an instance in place, once there is room for it.
    fn install(
        &self,
        slot: &Slot,
        generation: u64,
        files: Option<Fingerprint>,
        instance: Arc<Instance>,
    ) -> Result<(), LoadError> {
        let _accounting = self.account();
        self.make_room(slot, instance.memory())?;
        let (labels, memory) = (instance.labels().clone(), instance.memory());
        let info = instance.network().info().clone();
        let old = slot.replace(generation, files, instance)?;
        self.release(old, "replaced");
        self.metrics.loaded(&labels, &info, memory);
        Ok(())
    }

    /// Takes the instance out of a slot, for `reason` if one is to be reported.
    pub(super) fn take_out(&self, slot: &Slot, reason: Option<&str>, why: &'static str) {
        let _accounting = self.account();
        self.release(slot.unload(reason), why);
    }

    fn account(&self) -> MutexGuard<'_, ()> {
        let accounting = self.accounting.lock();
        accounting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts the least recently used models that are loaded on demand until
    /// `needed` more bytes fit the limit. The instance in `slot`, which the new
    /// one replaces, does not count.
    fn make_room(&self, slot: &Slot, needed: usize) -> Result<(), LoadError> {
        let Some(limit) = self.memory_limit else {
            return Ok(());
        };
        loop {
            let (mut in_use, mut pinned, mut oldest) = (0, 0, None::<(Instant, Arc<Slot>)>);
            for entry in self.entries() {
                let others = entry.slots();
                for other in others
                    .iter()
                    .filter(|o| !std::ptr::eq(Arc::as_ptr(o), slot))
                {
                    let inner = other.lock();
                    let Some(instance) = &inner.instance else {
                        continue;
                    };
                    in_use += instance.memory();
                    if !entry.on_demand() {
                        pinned += instance.memory();
                    } else if oldest.as_ref().is_none_or(|(at, _)| inner.last_used < *at) {
                        oldest = Some((inner.last_used, Arc::clone(other)));
                    }
                }
            }
            if in_use + needed <= limit {
                return Ok(());
            }
            let Some((_, least_used)) = oldest.filter(|_| pinned + needed <= limit) else {
                return Err(LoadError::Memory {
                    needed,
                    limit,
                    in_use: pinned,
                });
            };
            self.release(least_used.unload(None), "evicted");
        }
    }

    /// Lets go of an instance; its memory is freed when the last request on it
    /// ends.
    fn release(&self, instance: Option<Arc<Instance>>, why: &'static str) {
        let Some(instance) = instance else { return };
        let labels = instance.labels();
        self.metrics.unloaded(labels, instance.network().info());
        tracing::info!(model = labels.model, version = labels.version, "{why}");
    }
}
