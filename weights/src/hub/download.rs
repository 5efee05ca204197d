//! Downloads the files of one commit into the cache and verifies them.

use std::path::{Path, PathBuf};

use hf_hub::CacheRepo;
use hf_hub::api::Progress as Receiver;
use hf_hub::api::sync::{ApiError, ApiRepo};

use crate::bytes::{Access, Bytes, sha256};
use crate::folder::{CONFIG, PREPROCESSOR, weights_among};
use crate::hub::error::HubError;
use crate::sharded;

/// Progress of the download of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Bytes downloaded so far.
    pub done: u64,
    /// Size of the file in bytes.
    pub total: u64,
}

/// The download of one commit.
pub(super) struct Download<'a> {
    /// Address of the Hub, for errors.
    pub(super) endpoint: &'a str,
    /// Folder of the cache, for errors.
    pub(super) cache: &'a Path,
    pub(super) cached: CacheRepo,
    pub(super) repo: ApiRepo,
    pub(super) report: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// Downloads the weights and the configuration files among the
    /// repository's files `names`. Returns the folder that holds them.
    pub(super) fn model(&mut self, names: &[&str]) -> Result<PathBuf, HubError> {
        let weights = weights_among(names).map_err(HubError::Content)?;
        for config in [CONFIG, PREPROCESSOR] {
            if names.contains(&config) {
                self.file(config)?;
            }
        }
        let path = self.file(weights)?;
        if weights.ends_with(".index.json") {
            for shard in sharded::files(&path).map_err(|e| HubError::Content(e.to_string()))? {
                self.file(&shard)?;
            }
        }
        Ok(path.parent().unwrap_or(&path).to_owned())
    }

    /// The path of a file in the cache. Downloads the file unless an earlier
    /// attempt completed it.
    fn file(&mut self, name: &str) -> Result<PathBuf, HubError> {
        let path = match self.cached.get(name) {
            Some(path) => path,
            None => self
                .download(name)
                .map_err(|e| HubError::from_api(e, name, self.endpoint, self.cache))?,
        };
        verify(name, &path)?;
        Ok(path)
    }

    fn download(&mut self, name: &str) -> Result<PathBuf, ApiError> {
        let meter = Meter {
            report: self.report,
            file: name.to_owned(),
            done: 0,
            total: 0,
        };
        self.repo.download_with_progress(name, meter)
    }
}

/// Verifies the SHA-256 of a large file: it is the file's name in the cache.
/// Small files are named by their Git hash; they are not verified.
fn verify(name: &str, path: &Path) -> Result<(), HubError> {
    let unreadable = |error: &dyn std::fmt::Display| HubError::Content(format!("{name}: {error}"));
    let blob = path.canonicalize().map_err(|e| unreadable(&e))?;
    let expected = blob
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let found = sha256(&[Bytes::open(&blob, Access::Mapped).map_err(|e| unreadable(&e))?]);
    if found == expected {
        return Ok(());
    }
    for damaged in [path, &blob] {
        if let Err(error) = std::fs::remove_file(damaged) {
            tracing::warn!(%error, file = %damaged.display(), "cannot remove a damaged download");
        }
    }
    let file = name.to_owned();
    Err(HubError::Damaged {
        file,
        found,
        expected,
    })
}

/// Passes the progress that `hf-hub` reports on to the caller.
struct Meter<'a> {
    report: &'a mut dyn FnMut(Progress),
    file: String,
    done: u64,
    total: u64,
}

impl Meter<'_> {
    fn report(&mut self) {
        (self.report)(Progress {
            file: &self.file,
            done: self.done,
            total: self.total,
        });
    }
}

impl Receiver for Meter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
        self.report();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.report();
    }

    fn finish(&mut self) {}
}
