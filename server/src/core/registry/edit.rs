//! Changes to the models by a client while the server runs. They last until the
//! configuration is read again.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use model::Options;

use super::entry::Entry;
use super::registry::Registry;
use crate::core::error::Error;
use crate::core::spec::{LoadPolicy, ModelSource, ModelSpec, VersionPolicy};
use crate::core::tensor::FloatRange;

impl Registry {
    /// Adds a model, with the device and the other options of the default model,
    /// and starts to load it. `max_batch` is its largest batch, where it differs
    /// from the server's.
    ///
    /// # Errors
    /// [`Error::ModelExists`].
    pub fn add(
        &self,
        name: &str,
        source: ModelSource,
        max_batch: Option<usize>,
    ) -> Result<(), Error> {
        let applying = self.0.applying.lock();
        let _applying = applying.unwrap_or_else(PoisonError::into_inner);
        if self.entry(Some(name)).is_ok() {
            return Err(Error::ModelExists { name: name.into() });
        }
        let default = self.entry(None).map(|entry| entry.spec());
        let options = default.map_or_else(|_| Options::default(), |spec| spec.options.clone());
        let entry = Arc::new(Entry::new(ModelSpec {
            name: name.to_owned(),
            aliases: Vec::new(),
            source,
            versions: VersionPolicy::All,
            traffic: BTreeMap::new(),
            labels: None,
            options,
            max_batch,
            load: LoadPolicy::AtStart,
            floats: FloatRange::default(),
        }));
        // The server is ready while the model loads.
        entry.mark_started();
        // Before the model is visible: from the start it has its versions.
        self.follow_versions(&entry);
        self.0.write().entries.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Takes a model out, by its name or an alias. Requests in flight finish.
    ///
    /// # Errors
    /// An unknown model.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let applying = self.0.applying.lock();
        let _applying = applying.unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(Some(name))?;
        let spec = entry.spec();
        {
            let mut models = self.0.write();
            models.entries.remove(&spec.name);
            models.aliases.retain(|_, name| *name != spec.name);
        }
        for slot in entry.slots() {
            entry.remove(slot.version);
            self.0.take_out(&slot, None, "removed");
        }
        Ok(())
    }

    /// Sends the requests that name no version to this one.
    ///
    /// # Errors
    /// An unknown model or version.
    pub fn set_default_version(&self, name: &str, version: u64) -> Result<(), Error> {
        let entry = self.entry(Some(name))?;
        entry.find(Some(version))?;
        entry.set_spec(ModelSpec {
            traffic: BTreeMap::from([(version, 1)]),
            ..ModelSpec::clone(&entry.spec())
        });
        Ok(())
    }
}
