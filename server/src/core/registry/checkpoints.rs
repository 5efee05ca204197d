//! Loads models from checkpoints: the built-in one, files, folders, model
//! repositories and the Hugging Face Hub.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Model, ThreadPool};
use weights::{Access, Hub, Labels, Progress, Source};

use super::loader::{Fingerprint, LoadError, Loader};
use crate::core::network::Network;
use crate::core::spec::{ModelSource, ModelSpec};

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
        let (mut versions, mut has_files) = (Vec::new(), false);
        for entry in std::fs::read_dir(folder).map_err(list)? {
            let path = entry.map_err(list)?.path();
            match number(&path) {
                Some(version) if path.is_dir() => versions.push(version),
                _ => has_files |= path.is_file(),
            }
        }
        if versions.is_empty() && has_files {
            versions.push(ONLY_VERSION);
        }
        if versions.is_empty() {
            return Err(LoadError::NoVersion {
                folder: folder.clone(),
                reason: "it needs checkpoint files, or subfolders with integer names".into(),
            });
        }
        versions.sort_unstable();
        Ok(versions)
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
        let model = Model::load(&checkpoint, &spec.options, pool)?;
        let model = match &spec.labels {
            Some(file) => model.with_labels(Labels::from_file(file)?)?,
            None => model,
        };
        Ok(Arc::new(model))
    }

    fn fingerprint(&self, spec: &ModelSpec, version: u64) -> Option<Fingerprint> {
        let mut files = source(spec, version).ok()?.files().ok()?;
        files.extend(spec.labels.clone());
        let mut hash = DefaultHasher::new();
        for file in files {
            hash_file(&file, &mut hash)?;
        }
        Some(hash.finish())
    }

    fn estimate(&self, spec: &ModelSpec, version: u64) -> usize {
        let files = source(spec, version).and_then(|source| Ok(source.files()?));
        let sizes = files
            .into_iter()
            .flatten()
            .filter_map(|f| f.metadata().ok());
        sizes.map(|metadata| metadata.len() as usize).sum()
    }

    fn folders(&self, spec: &ModelSpec) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if let ModelSource::Versioned(folder) = &spec.source {
            folders.push(folder.clone());
        }
        for version in self.versions(spec).unwrap_or_default() {
            let files = source(spec, version).and_then(|source| Ok(source.files()?));
            let files = files.into_iter().flatten().chain(spec.labels.clone());
            for file in files {
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

/// The version that a folder's name is.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = name == "0" || !name.starts_with('0');
    (digits && canonical).then(|| name.parse().ok())?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_versions() {
        let number = |name: &str| number(&Path::new("models/pets").join(name));
        assert_eq!(number("1"), Some(1));
        assert_eq!(number("20261125"), Some(20_261_125));
        for name in [
            "01",
            "1.0",
            "v1",
            "-1",
            "",
            "99999999999999999999",
            "latest",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
