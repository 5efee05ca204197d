//! Downloads the files of one commit into the cache and verifies them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bytes::{Access, Bytes, sha256};
use crate::folder::{CONFIG, PREPROCESSOR, weights_among};
use crate::hub::cache::RepositoryCache;
use crate::hub::client::{Client, Remote, RequestError};
use crate::hub::error::HubError;
use crate::lock::wait_for;
use crate::sharded;

/// Progress of the download of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Bytes downloaded so far.
    pub done: u64,
    /// Size of the file in bytes; 0 while it is not known.
    pub total: u64,
}

/// Attempts in a row that get no byte of a file, until the download fails. Each
/// attempt continues where the one before it ended.
const ATTEMPTS: u32 = 4;
/// The pause after the first failed attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(300);
/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// The download of one commit.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    /// `organisation/name`.
    pub(super) id: &'a str,
    pub(super) commit: &'a str,
    /// Address of the Hub, for errors.
    pub(super) endpoint: &'a str,
    /// Folder of the cache, for errors.
    pub(super) cache: &'a Path,
    pub(super) cached: &'a RepositoryCache,
    pub(super) report: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// Downloads the weights and the configuration files among the
    /// repository's files `names`, unless they are in the cache, and remembers
    /// which it does not have.
    pub(super) fn model(&mut self, names: &[&str]) -> Result<(), HubError> {
        let weights = weights_among(names).map_err(HubError::Content)?;
        for config in [CONFIG, PREPROCESSOR] {
            if names.contains(&config) {
                self.file(config)?;
            } else {
                let remembered = self.cached.remember_absent(self.commit, config);
                remembered.map_err(|source| self.disk(source))?;
            }
        }
        let path = self.file(weights)?;
        if weights.ends_with(".index.json") {
            for shard in sharded::files(&path).map_err(|e| HubError::Content(e.to_string()))? {
                self.file(&shard)?;
            }
        }
        Ok(())
    }

    /// The path of a file in the cache. Downloads the file unless an earlier
    /// attempt completed it.
    fn file(&mut self, name: &str) -> Result<PathBuf, HubError> {
        let path = self.cached.snapshot(self.commit).join(name);
        if path.exists() {
            return Ok(path);
        }
        (self.report)(Progress {
            file: name,
            done: 0,
            total: 0,
        });
        let url = self.client.address(self.id, self.commit, name);
        let remote = self.client.describe(&url);
        let remote = remote.map_err(|error| self.failed(error, name))?;
        self.blob(name, &url, &remote)?;
        let linked = self.cached.link(self.commit, name, &remote.etag);
        linked.map_err(|source| self.disk(source))
    }

    /// Downloads a blob unless it is complete. Of several processes with one
    /// cache, one downloads and the others wait for it.
    fn blob(&mut self, name: &str, url: &str, remote: &Remote) -> Result<(), HubError> {
        let blob = self.cached.blob(&remote.etag);
        let is_complete = || blob.metadata().is_ok_and(|blob| blob.len() == remote.size);
        if is_complete() {
            return Ok(());
        }
        let folder = blob.parent().unwrap_or(self.cache);
        fs::create_dir_all(folder).map_err(|source| self.disk(source))?;
        let lock = self.cached.lock_file(&remote.etag);
        let lock = lock.map_err(|source| self.disk(source))?;
        wait_for(&lock, name).map_err(|source| self.disk(source))?;
        if is_complete() {
            return Ok(());
        }
        let part = blob.with_extension("part");
        self.fill(&part, name, url, remote)?;
        verify(name, &part, &remote.etag)?;
        fs::rename(&part, &blob).map_err(|source| self.disk(source))
    }

    /// Downloads what the file `part` does not have yet.
    fn fill(
        &mut self,
        part: &Path,
        name: &str,
        url: &str,
        remote: &Remote,
    ) -> Result<(), HubError> {
        let opened = OpenOptions::new().create(true).append(true).open(part);
        let mut file = opened.map_err(|source| self.disk(source))?;
        let mut failures = 0;
        loop {
            let start = file.seek(SeekFrom::End(0));
            let mut done = start.map_err(|source| self.disk(source))?;
            if done > remote.size {
                // left by the download of something else
                file.set_len(0).map_err(|source| self.disk(source))?;
                done = 0;
            }
            (self.report)(Progress {
                file: name,
                done,
                total: remote.size,
            });
            if done == remote.size {
                return file.sync_all().map_err(|source| self.disk(source));
            }
            let (received, ended) = self.receive(&mut file, name, url, (done, remote.size))?;
            failures = if received > 0 { 0 } else { failures + 1 };
            match ended {
                Some(error) if failures >= ATTEMPTS || is_final(&error) => {
                    return Err(self.failed(error, name));
                }
                Some(error) => {
                    tracing::info!(%error, file = name, "the download continues");
                    std::thread::sleep(PAUSE * 2_u32.pow(failures));
                }
                None => {}
            }
        }
    }

    /// Appends bytes to `file` until the file or the connection ends. Returns how
    /// many, and why the connection ended before the file was complete. An error
    /// is one of the disk.
    fn receive(
        &mut self,
        file: &mut File,
        name: &str,
        url: &str,
        (start, size): (u64, u64),
    ) -> Result<(u64, Option<RequestError>), HubError> {
        let mut body = match self.client.read_from(url, start) {
            Ok(body) => body.take(size - start),
            Err(error) => return Ok((0, Some(error))),
        };
        let mut chunk = vec![0; CHUNK];
        let mut received = 0;
        loop {
            match body.read(&mut chunk) {
                Ok(0) if start + received == size => return Ok((received, None)),
                Ok(0) => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Ok((received, Some(RequestError::Broken(error))));
                }
                Ok(bytes) => {
                    let written = file.write_all(&chunk[..bytes]);
                    written.map_err(|source| self.disk(source))?;
                    received += bytes as u64;
                    (self.report)(Progress {
                        file: name,
                        done: start + received,
                        total: size,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok((received, Some(RequestError::Broken(error)))),
            }
        }
    }

    fn failed(&self, error: RequestError, file: &str) -> HubError {
        HubError::of_request(error, file, self.endpoint)
    }

    fn disk(&self, source: io::Error) -> HubError {
        HubError::Cache {
            cache: self.cache.to_owned(),
            source,
        }
    }
}

/// Whether another attempt would fail too.
fn is_final(error: &RequestError) -> bool {
    match error {
        RequestError::Http(error) => {
            matches!(**error, ureq::Error::StatusCode(status) if status < 500 && status != 429)
        }
        _ => false,
    }
}

/// The SHA-256 that a large file has, by its name in the cache. Small files are
/// named by their Git hash; they are not verified.
pub(super) fn checksum(etag: &str) -> Option<&str> {
    let is_sha256 = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sha256.then_some(etag)
}

/// Verifies a downloaded file, and removes it if it is damaged.
fn verify(name: &str, path: &Path, etag: &str) -> Result<(), HubError> {
    let Some(expected) = checksum(etag) else {
        return Ok(());
    };
    let opened = Bytes::open(path, Access::Mapped);
    let opened = opened.map_err(|e| HubError::Content(format!("{name}: {e}")))?;
    let found = sha256(&[opened]);
    if found == expected {
        return Ok(());
    }
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, file = %path.display(), "cannot remove a damaged download");
    }
    Err(HubError::Damaged {
        file: name.to_owned(),
        found,
        expected: expected.to_owned(),
    })
}
