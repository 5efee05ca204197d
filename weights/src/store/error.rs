//! Why a checkpoint in an object store could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a checkpoint in an object store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The program has no support for object stores.
    #[error("this program was built without object stores; build it with `--features stores`")]
    NotBuilt,
    /// The store has no such bucket, folder or file.
    #[error("the store has no {file}; check the address")]
    Absent {
        /// The file.
        file: String,
    },
    /// The store refused the request.
    #[error(
        "the store denies access to {file}; check the credentials in the environment: {reason}"
    )]
    Denied {
        /// The file.
        file: String,
        /// What the store says.
        reason: String,
    },
    /// A request failed.
    #[error("cannot fetch {file}: {reason}")]
    Fetch {
        /// The file.
        file: String,
        /// The error of the request.
        reason: String,
    },
    /// The file changed while it was downloaded.
    #[error("{file} changed during the download; try again")]
    Changed {
        /// The file.
        file: String,
    },
    /// The cache could not be written.
    #[error("cannot write to the cache at {}: {source}; set HF_HOME to another folder", cache.display())]
    Cache {
        /// Folder of the cache.
        cache: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file differs from its checksum.
    #[error("the SHA-256 of {file} is {found}, but {file}.sha256 says {expected}")]
    Checksum {
        /// The file.
        file: String,
        /// Digest of the downloaded file.
        found: String,
        /// Digest that the store states.
        expected: String,
    },
    /// The folder holds no usable checkpoint.
    #[error("{0}")]
    Content(String),
}
