//! Object stores: Amazon S3 and what is compatible with it, Google Cloud Storage,
//! Azure Blob Storage, and files on HTTPS servers.
//!
//! A checkpoint is downloaded to the cache on disk, in a folder for each version of its
//! files. The store is asked for the versions at each opening; if it cannot be reached,
//! the version that was opened last is used.

pub(crate) mod address;
#[cfg(feature = "stores")]
mod client;
#[cfg(feature = "stores")]
mod download;
pub(crate) mod error;
#[cfg(feature = "stores")]
mod open;

use std::path::{Path, PathBuf};
use std::time::Duration;

use address::Address;
use error::StoreError;

use crate::hub::download::Progress;

/// Where checkpoints of object stores are kept, and how long a store may be silent.
#[cfg_attr(
    not(feature = "stores"),
    expect(dead_code, reason = "no store is read")
)]
pub(crate) struct Stores {
    /// Folder of the cache.
    pub(crate) cache: PathBuf,
    /// Longest wait for a response, or the next bytes of a file.
    pub(crate) timeout: Duration,
}

impl Stores {
    /// The cache beside the one of the Hub.
    pub(crate) fn beside(hub: &Path, timeout: Duration) -> Self {
        Self {
            cache: hub.with_file_name("stores"),
            timeout,
        }
    }

    /// The path of the weights of a checkpoint, whose configuration files are beside
    /// them. Downloads what is not in the cache.
    #[cfg(feature = "stores")]
    pub(crate) fn fetch(
        &self,
        address: &Address,
        report: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, StoreError> {
        download::fetch(self, address, report)
    }

    /// As above, in a program that has no clients of object stores.
    #[cfg(not(feature = "stores"))]
    pub(crate) fn fetch(
        &self,
        _: &Address,
        _: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, StoreError> {
        Err(StoreError::NotBuilt)
    }
}
