//! A loader whose "files" are functions that build fake networks. Tests write,
//! change and remove them while the server runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use model::ThreadPool;
use resnet_server::core::network::Network;
use resnet_server::core::registry::loader::{Fingerprint, LoadError, Loader};
use resnet_server::core::spec::{LoadPolicy, ModelSource, ModelSpec, VersionPolicy};
use resnet_server::core::tensor::FloatRange;

use super::gate::Gate;
use super::network::FakeNetwork;

/// Loads one version.
type Load = Arc<dyn Fn() -> Result<Arc<FakeNetwork>, LoadError> + Send + Sync>;

struct Files {
    fingerprint: Fingerprint,
    load: Load,
    estimate: usize,
}

/// A version of a model.
type Key = (String, u64);

/// The files of all models, and what has been loaded from them.
#[derive(Default)]
pub(crate) struct FakeFiles {
    files: Mutex<BTreeMap<Key, Files>>,
    next_fingerprint: Mutex<Fingerprint>,
    gates: Mutex<BTreeMap<String, Arc<Gate>>>,
    /// In the order in which the loads began.
    loads: Mutex<Vec<Key>>,
    networks: Mutex<Vec<(Key, Weak<FakeNetwork>)>>,
    /// Why versions cannot be listed.
    list_error: Mutex<Option<String>>,
    watched: Mutex<Vec<PathBuf>>,
}

impl FakeFiles {
    /// Writes or replaces a version. Each load of it calls `build`.
    pub(crate) fn write(
        &self,
        name: &str,
        version: u64,
        build: impl Fn() -> FakeNetwork + Send + Sync + 'static,
    ) {
        self.insert(name, version, Arc::new(move || Ok(Arc::new(build()))));
    }

    /// As [`FakeFiles::write`], with one network for all loads.
    pub(crate) fn write_shared(&self, name: &str, version: u64, network: Arc<FakeNetwork>) {
        self.insert(name, version, Arc::new(move || Ok(Arc::clone(&network))));
    }

    /// Writes a version that cannot be loaded.
    pub(crate) fn write_broken(&self, name: &str, version: u64, reason: &'static str) {
        let load = move || Err(model::Error::Architecture(reason.into()).into());
        self.insert(name, version, Arc::new(load));
    }

    fn insert(&self, name: &str, version: u64, load: Load) {
        let files = Files {
            fingerprint: self.new_fingerprint(),
            load,
            estimate: 0,
        };
        let key = (name.to_owned(), version);
        self.files.lock().unwrap().insert(key, files);
    }

    fn new_fingerprint(&self) -> Fingerprint {
        let mut next = self.next_fingerprint.lock().unwrap();
        *next += 1;
        *next
    }

    /// Changes the files of a version, as a copy in progress does.
    pub(crate) fn touch(&self, name: &str, version: u64) {
        let fingerprint = self.new_fingerprint();
        self.change(name, version, |files| files.fingerprint = fingerprint);
    }

    /// Sets the number of bytes that a version is expected to use.
    pub(crate) fn set_estimate(&self, name: &str, version: u64, bytes: usize) {
        self.change(name, version, |files| files.estimate = bytes);
    }

    fn change(&self, name: &str, version: u64, change: impl FnOnce(&mut Files)) {
        let mut files = self.files.lock().unwrap();
        change(files.get_mut(&(name.to_owned(), version)).unwrap());
    }

    pub(crate) fn remove(&self, name: &str, version: u64) {
        let mut files = self.files.lock().unwrap();
        files.remove(&(name.to_owned(), version)).unwrap();
    }

    /// Makes listing the versions of all models fail, or succeed again.
    pub(crate) fn set_list_error(&self, error: Option<&str>) {
        *self.list_error.lock().unwrap() = error.map(str::to_owned);
    }

    /// Adds a folder in which changes concern the models.
    pub(crate) fn watch_folder(&self, folder: &Path) {
        self.watched.lock().unwrap().push(folder.to_owned());
    }

    /// While it is closed, the loads of this model wait after they have begun.
    pub(crate) fn gate(&self, name: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap();
        Arc::clone(gates.entry(name.to_owned()).or_default())
    }

    /// Versions of this model whose loads have begun, in order.
    pub(crate) fn loads(&self, name: &str) -> Vec<u64> {
        let loads = self.loads.lock().unwrap();
        let of_model = loads.iter().filter(|(model, _)| model == name);
        of_model.map(|(_, version)| *version).collect()
    }

    /// The network that was loaded last for this version.
    #[track_caller]
    pub(crate) fn network(&self, name: &str, version: u64) -> Arc<FakeNetwork> {
        let networks = self.networks.lock().unwrap();
        let loaded = networks.iter().rev();
        let mut of_version = loaded.filter(|((model, v), _)| model == name && *v == version);
        let (_, network) = of_version.next().expect("this version was never loaded");
        network.upgrade().expect("this network has been freed")
    }

    /// The number of networks of this model that are in memory.
    pub(crate) fn in_memory(&self, name: &str) -> usize {
        let networks = self.networks.lock().unwrap();
        let of_model = networks.iter().filter(|((model, _), _)| model == name);
        of_model.filter(|(_, n)| n.strong_count() > 0).count()
    }
}

/// Loads what a test has written.
pub(crate) struct FakeLoader(pub(crate) Arc<FakeFiles>);

impl Loader for FakeLoader {
    fn versions(&self, spec: &ModelSpec) -> Result<Vec<u64>, LoadError> {
        let no_version = |reason: &str| LoadError::NoVersion {
            folder: spec.name.clone().into(),
            reason: reason.into(),
        };
        if let Some(error) = &*self.0.list_error.lock().unwrap() {
            return Err(no_version(error));
        }
        let files = self.0.files.lock().unwrap();
        let of_model = files.keys().filter(|(name, _)| *name == spec.name);
        let versions: Vec<u64> = of_model.map(|(_, version)| *version).collect();
        match versions.is_empty() {
            true => Err(no_version("it is empty")),
            false => Ok(versions),
        }
    }

    fn load(
        &self,
        spec: &ModelSpec,
        version: u64,
        _: &ThreadPool,
    ) -> Result<Arc<dyn Network>, LoadError> {
        let key = (spec.name.clone(), version);
        self.0.loads.lock().unwrap().push(key.clone());
        self.0.gate(&spec.name).pass();
        let load = {
            let files = self.0.files.lock().unwrap();
            let files = files.get(&key).ok_or_else(|| LoadError::NoVersion {
                folder: spec.name.clone().into(),
                reason: format!("version {version} was removed"),
            })?;
            Arc::clone(&files.load)
        };
        let network = load()?;
        let mut networks = self.0.networks.lock().unwrap();
        networks.push((key, Arc::downgrade(&network)));
        Ok(network)
    }

    fn fingerprint(&self, spec: &ModelSpec, version: u64) -> Option<Fingerprint> {
        let files = self.0.files.lock().unwrap();
        let files = files.get(&(spec.name.clone(), version));
        files.map(|files| files.fingerprint)
    }

    fn estimate(&self, spec: &ModelSpec, version: u64) -> usize {
        let files = self.0.files.lock().unwrap();
        let files = files.get(&(spec.name.clone(), version));
        files.map_or(0, |files| files.estimate)
    }

    fn folders(&self, _: &ModelSpec) -> Vec<PathBuf> {
        self.0.watched.lock().unwrap().clone()
    }
}

/// A model that is loaded at start and serves its newest version.
pub(crate) fn spec(name: &str) -> ModelSpec {
    ModelSpec {
        name: name.to_owned(),
        aliases: Vec::new(),
        source: ModelSource::Versioned(name.into()),
        versions: VersionPolicy::Latest,
        traffic: BTreeMap::new(),
        labels: None,
        options: model::Options::default(),
        max_batch: None,
        load: LoadPolicy::AtStart,
        floats: FloatRange::default(),
    }
}

/// A model that is loaded on demand and serves its newest version.
pub(crate) fn on_demand(name: &str) -> ModelSpec {
    ModelSpec {
        load: LoadPolicy::OnDemand,
        ..spec(name)
    }
}
