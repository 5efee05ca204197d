//! What the registry requires of the storage of models. `checkpoints.rs` reads
//! checkpoints from the disk and the Hub; tests replace it.

use std::path::PathBuf;
use std::sync::Arc;

use model::ThreadPool;

use crate::core::instance::StartError;
use crate::core::network::Network;
use crate::core::spec::ModelSpec;

/// A hash of the names, sizes and modification times of a version's files.
pub type Fingerprint = u64;

/// Where the registry loads models from.
pub trait Loader: Send + Sync + 'static {
    /// The versions that exist, in ascending order.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    fn versions(&self, spec: &ModelSpec) -> Result<Vec<u64>, LoadError>;

    /// Reads a version and builds its network.
    ///
    /// # Errors
    /// See [`LoadError`].
    fn load(
        &self,
        spec: &ModelSpec,
        version: u64,
        pool: &ThreadPool,
    ) -> Result<Arc<dyn Network>, LoadError>;

    /// Changes when the files of a version change; `None` while they are
    /// missing or cannot be read.
    fn fingerprint(&self, spec: &ModelSpec, version: u64) -> Option<Fingerprint> {
        let _ = (spec, version);
        Some(0)
    }

    /// Bytes that a version takes in memory, estimated before it is loaded.
    fn estimate(&self, spec: &ModelSpec, version: u64) -> usize {
        let _ = (spec, version);
        0
    }

    /// The folders in which a change may add, replace or remove a version.
    fn folders(&self, spec: &ModelSpec) -> Vec<PathBuf> {
        let _ = spec;
        Vec::new()
    }
}

/// Why a version cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The checkpoint cannot be opened.
    #[error(transparent)]
    Checkpoint(#[from] weights::Error),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] model::Error),
    /// The network cannot run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The model's folder cannot be listed.
    #[error("cannot list {}: {source}", folder.display())]
    List {
        /// The folder.
        folder: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// There is nothing to load.
    #[error("{} holds no version to load: {reason}", folder.display())]
    NoVersion {
        /// The folder.
        folder: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// The files were replaced during the load.
    #[error("the files changed while they were read; they are loaded once they no longer change")]
    Changed,
    /// The version was unloaded or removed during the load.
    #[error("it was unloaded during the load")]
    Unloaded,
    /// The limit on memory for models leaves too little.
    #[error(
        "it needs {needed} bytes; --model-memory is {limit} bytes, of which models that cannot be \
         evicted use {in_use}"
    )]
    Memory {
        /// Bytes of this model.
        needed: usize,
        /// Bytes of all models.
        limit: usize,
        /// Bytes of the models loaded at start.
        in_use: usize,
    },
    /// Code panicked; the log has the message.
    #[error("the load panicked; the log has the message")]
    Panicked,
}
