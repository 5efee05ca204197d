//! One model of the registry: its specification and its versions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::slot::{Slot, State};
use super::split::Split;
use crate::core::error::Error;
use crate::core::spec::{LoadPolicy, ModelSpec, VersionPolicy};

pub(super) struct Entry {
    inner: RwLock<Inner>,
    split: Mutex<Split>,
    /// Whether the first load of each version has succeeded or failed.
    started: AtomicBool,
}

struct Inner {
    spec: Arc<ModelSpec>,
    slots: BTreeMap<u64, Arc<Slot>>,
    /// Why the versions cannot be listed.
    error: Option<String>,
}

impl Entry {
    pub(super) fn new(spec: ModelSpec) -> Self {
        Self {
            inner: RwLock::new(Inner {
                spec: Arc::new(spec),
                slots: BTreeMap::new(),
                error: None,
            }),
            split: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    pub(super) fn spec(&self) -> Arc<ModelSpec> {
        Arc::clone(&self.read().spec)
    }

    pub(super) fn set_spec(&self, spec: ModelSpec) {
        self.write().spec = Arc::new(spec);
    }

    /// In ascending order of their versions.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.read().slots.values().cloned().collect()
    }

    pub(super) fn slot(&self, version: u64) -> Option<Arc<Slot>> {
        self.read().slots.get(&version).cloned()
    }

    /// Why the versions cannot be listed.
    pub(super) fn error(&self) -> Option<String> {
        self.read().error.clone()
    }

    pub(super) fn set_error(&self, error: Option<String>) {
        self.write().error = error;
    }

    /// Adds a version; it may be there already.
    pub(super) fn add(&self, version: u64) -> Arc<Slot> {
        let mut inner = self.write();
        let slot = inner.slots.entry(version);
        Arc::clone(slot.or_insert_with(|| Arc::new(Slot::new(version))))
    }

    pub(super) fn remove(&self, version: u64) -> Option<Arc<Slot>> {
        self.write().slots.remove(&version)
    }

    pub(super) fn on_demand(&self) -> bool {
        self.read().spec.load == LoadPolicy::OnDemand
    }

    /// The version that a request without a version gets: by the traffic split
    /// among those that are ready, else the newest that is ready, else the
    /// newest. A version that is loaded on demand counts as ready.
    pub(super) fn pick(&self) -> Option<Arc<Slot>> {
        let inner = self.read();
        let mut ready: Vec<u64> = Vec::new();
        let on_demand = inner.spec.load == LoadPolicy::OnDemand;
        for (version, slot) in &inner.slots {
            if on_demand || slot.is_ready() {
                ready.push(*version);
            }
        }
        let traffic = &inner.spec.traffic;
        let by_weight = || {
            let mut split = self.split.lock().unwrap_or_else(PoisonError::into_inner);
            split.pick(traffic, &ready)
        };
        let version = match traffic.is_empty() {
            true => None,
            false => by_weight(),
        };
        let version = version.or(ready.last().copied());
        match version {
            Some(version) => inner.slots.get(&version).cloned(),
            None => inner.slots.values().next_back().cloned(),
        }
    }

    /// The slot of `version`, or of the version that the traffic split picks.
    pub(super) fn find(&self, version: Option<u64>) -> Result<Arc<Slot>, Error> {
        let found = match version {
            Some(version) => self.slot(version),
            None => self.pick(),
        };
        found.ok_or_else(|| {
            let inner = self.read();
            let name = inner.spec.name.clone();
            match (version, &inner.error) {
                (Some(version), None) => {
                    Error::unknown_version(&name, version, inner.slots.keys().copied())
                }
                (_, error) => Error::ModelUnavailable {
                    model: name,
                    reason: error.clone().unwrap_or_else(|| "it has no version".into()),
                },
            }
        })
    }

    /// Whether the first load of some version is in progress or queued. Later
    /// loads do not count.
    pub(super) fn is_starting(&self) -> bool {
        if !self.is_loading() {
            self.started.store(true, Ordering::SeqCst);
        }
        !self.started.load(Ordering::SeqCst)
    }

    /// Takes the first loads as later ones: those of a model that is added while
    /// the server runs.
    pub(super) fn mark_started(&self) {
        self.started.store(true, Ordering::SeqCst);
    }

    /// Whether a version without an instance is being loaded.
    pub(super) fn is_loading(&self) -> bool {
        let slots = self.slots();
        slots.iter().any(|slot| slot.lock().state == State::Loading)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The versions to serve of those `available`, which are in ascending order.
pub(super) fn selected(policy: &VersionPolicy, available: &[u64]) -> Vec<u64> {
    match policy {
        VersionPolicy::Latest => available.last().copied().into_iter().collect(),
        VersionPolicy::All => available.to_vec(),
        VersionPolicy::Only(listed) => available
            .iter()
            .copied()
            .filter(|version| listed.contains(version))
            .collect(),
    }
}
