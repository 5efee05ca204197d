//! Makes the registry follow its configuration and the files: models and
//! versions that appear are loaded, those that disappear are unloaded, and
//! changed ones are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::entry::{Entry, selected};
use super::registry::Registry;
use super::slot::{Slot, State};
use crate::core::spec::{LoadPolicy, ModelSpec};

impl Registry {
    /// Serves exactly the models of `specs`. Models that it has already keep
    /// their instances; changed ones are loaded again in the background.
    pub fn apply(&self, specs: Vec<ModelSpec>, default: &str) {
        let applying = self.0.applying.lock();
        let _applying = applying.unwrap_or_else(PoisonError::into_inner);
        let names: BTreeSet<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let (mut entries, mut changed) = (BTreeMap::new(), Vec::new());
        let aliases = aliases(&specs);
        for spec in specs {
            let known = self.0.read().entries.get(&spec.name).cloned();
            let name = spec.name.clone();
            let entry = known.unwrap_or_else(|| Arc::new(Entry::new(spec.clone())));
            if *entry.spec() != spec {
                if !entry.spec().loads_like(&spec) {
                    changed.push(Arc::clone(&entry));
                }
                entry.set_spec(spec);
            }
            // Before the model is visible: from the start it has its versions.
            self.follow_versions(&entry);
            entries.insert(name, entry);
        }
        let before = {
            let mut models = self.0.write();
            default.clone_into(&mut models.default);
            (models.aliases, models.configured) = (aliases, true);
            std::mem::replace(&mut models.entries, entries)
        };
        for (_, entry) in before.iter().filter(|(name, _)| !names.contains(*name)) {
            for slot in entry.slots() {
                entry.remove(slot.version);
                self.0.take_out(&slot, None, "removed");
            }
        }
        for entry in changed {
            for slot in entry.slots().into_iter().filter(|slot| slot.is_ready()) {
                self.start_load(&entry, &slot, slot.queued());
            }
        }
    }

    /// Makes every version whose load failed load again at the next scan.
    pub fn retry_failed(&self) {
        for slot in self.0.entries().iter().flat_map(|entry| entry.slots()) {
            slot.retry();
        }
    }

    /// Looks for new, changed and removed files once, and starts the loads that
    /// they ask for.
    pub fn scan(&self) {
        for entry in self.0.entries() {
            self.follow_versions(&entry);
            let spec = entry.spec();
            for slot in entry.slots() {
                let files = self.0.loader.fingerprint(&spec, slot.version);
                let loadable = slot.is_ready() || spec.load == LoadPolicy::AtStart;
                if slot.observe(files) && loadable {
                    self.start_load(&entry, &slot, slot.queued());
                }
            }
        }
    }

    /// The folders in which a change may concern a model.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let entries = self.0.entries();
        let folders = entries
            .iter()
            .flat_map(|entry| self.0.loader.folders(&entry.spec()));
        folders.collect()
    }

    /// Adds the versions that exist and are selected, and removes the others.
    /// An old version serves until a selected one is ready. Returns the versions
    /// that are selected.
    pub(super) fn follow_versions(&self, entry: &Arc<Entry>) -> Vec<u64> {
        let spec = entry.spec();
        let available = match self.0.loader.versions(&spec) {
            Ok(available) => available,
            Err(error) => {
                let error = error.to_string();
                if entry.error().as_ref() != Some(&error) {
                    tracing::error!(model = spec.name, error, "its versions cannot be listed");
                }
                entry.set_error(Some(error));
                return entry.slots().iter().map(|slot| slot.version).collect();
            }
        };
        entry.set_error(None);
        let selected = selected(&spec.versions, &available);
        for &version in &selected {
            let slot = entry.add(version);
            if spec.load == LoadPolicy::AtStart
                && let Some(generation) = slot.queued_if_idle()
            {
                self.start_load(entry, &slot, generation);
            }
        }
        let pending = |slot: &Arc<Slot>| {
            spec.load == LoadPolicy::AtStart && !slot.is_ready() && slot.lock().follows_files
        };
        let (kept, obsolete): (Vec<Arc<Slot>>, Vec<Arc<Slot>>) = entry
            .slots()
            .into_iter()
            .partition(|slot| selected.contains(&slot.version));
        let replaced = !kept.iter().any(pending);
        for slot in obsolete {
            let idle = matches!(slot.lock().state, State::Unloaded | State::Failed);
            if replaced || idle {
                entry.remove(slot.version);
                self.0.take_out(&slot, None, "no longer served");
            }
        }
        selected
    }
}

fn aliases(specs: &[ModelSpec]) -> BTreeMap<String, String> {
    let of = |spec: &ModelSpec| {
        let name = spec.name.clone();
        let pairs = spec.aliases.iter().cloned();
        pairs
            .map(move |alias| (alias, name.clone()))
            .collect::<Vec<_>>()
    };
    specs.iter().flat_map(of).collect()
}
