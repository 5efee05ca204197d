//! The files of one commit, downloaded into the cache and checked.

use std::path::{Path, PathBuf};

use hf_hub::CacheRepo;
use hf_hub::api::Progress as Receiver;
use hf_hub::api::sync::{ApiError, ApiRepo};

use super::{CONFIG, Hub, HubFault, PREPROCESSOR, Progress, weights_among};
use crate::bytes::{Bytes, sha256};
use crate::sharded;

/// The download of one commit.
pub(super) struct Download<'a> {
    pub(super) hub: &'a Hub,
    pub(super) cached: CacheRepo,
    pub(super) repo: ApiRepo,
    pub(super) report: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// Downloads what of the repository's files `names` makes a model; the
    /// folder that holds it.
    pub(super) fn model(&mut self, names: &[&str]) -> Result<PathBuf, HubFault> {
        let weights = weights_among(names).map_err(HubFault::Content)?;
        for config in [CONFIG, PREPROCESSOR] {
            if names.contains(&config) {
                self.file(config)?;
            }
        }
        let path = self.file(weights)?;
        if weights.ends_with(".index.json") {
            for shard in sharded::files(&path).map_err(|e| HubFault::Content(e.to_string()))? {
                self.file(&shard)?;
            }
        }
        Ok(path.parent().unwrap_or(&path).to_owned())
    }

    /// A file's path in the cache, after a download unless an earlier try got
    /// that far.
    fn file(&mut self, name: &str) -> Result<PathBuf, HubFault> {
        let path = match self.cached.get(name) {
            Some(path) => path,
            None => self
                .download(name)
                .map_err(|error| self.hub.fault(name, error))?,
        };
        check(name, &path)?;
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

/// Checks a large file against the SHA-256 that the Hub, and so the cache,
/// calls it by. Small ones are called by something else and are parsed anyway.
fn check(name: &str, path: &Path) -> Result<(), HubFault> {
    let unreadable = |error: &dyn std::fmt::Display| HubFault::Content(format!("{name}: {error}"));
    let blob = path.canonicalize().map_err(|e| unreadable(&e))?;
    let expected = blob
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let found = sha256(&[Bytes::map(&blob).map_err(|e| unreadable(&e))?]);
    if found == expected {
        return Ok(());
    }
    for damaged in [path, &blob] {
        if let Err(error) = std::fs::remove_file(damaged) {
            tracing::warn!(%error, file = %damaged.display(), "a damaged download stays");
        }
    }
    let file = name.to_owned();
    Err(HubFault::Damaged {
        file,
        found,
        expected,
    })
}

/// Hands the crate's progress on.
struct Meter<'a> {
    report: &'a mut dyn FnMut(Progress),
    file: String,
    done: u64,
    total: u64,
}

impl Meter<'_> {
    fn tell(&mut self) {
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
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.tell();
    }

    fn finish(&mut self) {}
}
