//! Loads models from checkpoints: the built-in one, files, folders, model
//! repositories and the Hugging Face Hub.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::ThreadPool;
use weights::{Access, Hub, Progress, Source};

use super::loader::{Fingerprint, LoadError, Loader};
use crate::core::network::{Network, load_model};
use crate::core::spec::{ModelSource, ModelSpec};
use crate::core::versions::versions_in;

/// Time between two log lines about a download.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The version of a model that has no versions.
const ONLY_VERSION: u64 = 1;

/// Loads checkpoints from disk and from the Hub.
pub struct Checkpoints {
    hub: Hub,
}

impl Checkpoints {
    /// Reads from the disk and, through its cache, from `hub`.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

impl Loader for Checkpoints {
    fn versions(&self, spec: &ModelSpec) -> Result<Vec<u64>, LoadError> {
        let folder = match &spec.source {
            ModelSource::Checkpoint(_) => return Ok(vec![ONLY_VERSION]),
            ModelSource::Versioned(folder) => folder,
        };
        let list = |source| LoadError::List {
            folder: folder.clone(),
            source,
        };
        let versions = versions_in(folder).map_err(list)?;
        if !versions.is_empty() {
            return Ok(versions);
        }
        let mut entries = std::fs::read_dir(folder).map_err(list)?.flatten();
        if entries.any(|entry| entry.path().is_file()) {
            return Ok(vec![ONLY_VERSION]);
        }
        Err(LoadError::NoVersion {
            folder: folder.clone(),
            reason: "it needs checkpoint files, or subfolders with integer names".into(),
        })
    }

    fn load(
        &self,
        spec: &ModelSpec,
        version: u64,
        pool: &ThreadPool,
    ) -> Result<Arc<dyn Network>, LoadError> {
        let source = source(spec, version)?;
        let mut reported = Instant::now();
        let mut progress = |progress: Progress<'_>| {
            if reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                let Progress { file, done, total } = progress;
                tracing::info!(model = spec.name, file, done, total, "downloading");
            }
        };
        // Files are copied into memory: a mapped file that is truncated during
        // the load would end the process with SIGBUS.
        let checkpoint = source.open_with(&self.hub, Access::Copied, &mut progress)?;
        let model = load_model(&checkpoint, &spec.options, spec.labels.as_deref(), pool)?;
        Ok(Arc::new(model))
    }

    fn fingerprint(&self, spec: &ModelSpec, version: u64) -> Option<Fingerprint> {
        let mut hash = DefaultHasher::new();
        for file in files(spec, version)?.iter().chain(&spec.labels) {
            hash_file(file, &mut hash)?;
        }
        Some(hash.finish())
    }

    fn estimate(&self, spec: &ModelSpec, version: u64) -> usize {
        let files = files(spec, version).unwrap_or_default();
        let sizes = files.iter().filter_map(|file| file.metadata().ok());
        sizes.map(|metadata| metadata.len() as usize).sum()
    }

    fn folders(&self, spec: &ModelSpec) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if let ModelSource::Versioned(folder) = &spec.source {
            folders.push(folder.clone());
        }
        for version in self.versions(spec).unwrap_or_default() {
            let files = files(spec, version).unwrap_or_default();
            for file in files.iter().chain(&spec.labels) {
                folders.extend(file.parent().map(non_empty));
                // ConfigMap volumes replace a symbolic link in a parent folder.
                let target = file.canonicalize().ok();
                folders.extend(target.and_then(|target| target.parent().map(non_empty)));
            }
        }
        folders
    }
}

/// The checkpoint of a version.
fn source(spec: &ModelSpec, version: u64) -> Result<Source, LoadError> {
    match &spec.source {
        ModelSource::Checkpoint(text) => Ok(Source::parse(text)?),
        ModelSource::Versioned(folder) => {
            let numbered = folder.join(version.to_string());
            let folder = if numbered.is_dir() { &numbered } else { folder };
            Ok(Source::Folder(folder.clone()))
        }
    }
}

/// The local files of a version's checkpoint; `None` while they are missing.
fn files(spec: &ModelSpec, version: u64) -> Option<Vec<PathBuf>> {
    source(spec, version).ok()?.files().ok()
}

fn non_empty(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() {
        ".".into()
    } else {
        folder.to_owned()
    }
}

/// What changes when a file is written, or replaced by another one, also
/// behind a symbolic link.
fn hash_file(file: &Path, hash: &mut DefaultHasher) -> Option<()> {
    let metadata = file.metadata().ok()?;
    file.canonicalize().ok()?.hash(hash);
    metadata.len().hash(hash);
    metadata.modified().ok().hash(hash);
    inode(&metadata).hash(hash);
    Some(())
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) {}
