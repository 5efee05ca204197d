//! Downloads a checkpoint from an object store into the cache. Each address has a folder,
//! `CACHE/HASH OF THE ADDRESS/`: its subfolder `VERSION/` has the files of a version, and
//! its file `current` names the version that was opened last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Stores;
use super::address::Address;
use super::client::{Client, Remote, Stop};
use super::error::StoreError;
use crate::bytes::{Access, Bytes, sha256};
use crate::folder::{CONFIG, PREPROCESSOR, weights_among};
use crate::hub::download::Progress;
use crate::lock::wait_for;
use crate::sharded;

/// Attempts in a row that get no byte of a file, until the download fails. Each
/// attempt continues where the one before it ended.
const ATTEMPTS: u32 = 4;
/// The pause after the first failed attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(300);
/// Largest file that is read into memory: an index of shards, or a checksum.
const MAX_SMALL: u64 = 8 << 20;
/// Ending of the file beside a file of weights that states its SHA-256.
const CHECKSUM: &str = ".sha256";
/// The file with the name of the version that was opened last.
const CURRENT: &str = "current";

type Result<T> = std::result::Result<T, StoreError>;

/// The path of the weights in the cache.
pub(super) fn fetch(
    stores: &Stores,
    address: &Address,
    report: &mut dyn FnMut(Progress),
) -> Result<PathBuf> {
    let cached = Cached {
        root: stores.cache.clone(),
        folder: stores.cache.join(&hash(&[&address.to_string()])[..32]),
    };
    let client = Client::new(address.folder(), stores.timeout)?;
    let files = match Files::find(&client, address) {
        Ok(files) => files,
        Err(error @ StoreError::Fetch { .. }) => {
            let weights = cached.current().ok_or_else(|| unreachable(&error))?;
            tracing::warn!(%address, %error, "the version in the cache is used");
            return Ok(weights);
        }
        Err(error) => return Err(error),
    };
    let version = files.version();
    let complete = cached.folder.join(&version);
    if !complete.is_dir() {
        tracing::info!(%address, "downloading");
        let _lock = cached.lock(&address.to_string())?;
        let download = Download {
            client: &client,
            cached: &cached,
            part: cached.folder.join(format!("{version}.part")),
            report,
        };
        download.all(&files, &complete)?;
    }
    cached.select(&version, &files.weights)?;
    Ok(complete.join(files.weights))
}

/// The error when the store cannot be reached and the cache has no version.
fn unreachable(error: &StoreError) -> StoreError {
    StoreError::Content(format!("{error}; the cache has no version of it"))
}

/// The files of a checkpoint in the store.
struct Files {
    /// The name of the weights, or of the index of their shards.
    weights: String,
    remotes: Vec<Remote>,
}

impl Files {
    fn find(client: &Client, address: &Address) -> Result<Self> {
        let weights = match address.file() {
            Some(file) => file.to_owned(),
            None => {
                let names = client.names()?;
                if names.is_empty() {
                    let file = "file in that folder".to_owned();
                    return Err(StoreError::Absent { file });
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                weights_among(&names)
                    .map_err(StoreError::Content)?
                    .to_owned()
            }
        };
        let absent = |file: &str| StoreError::Absent {
            file: file.to_owned(),
        };
        let described = |name: &str| client.describe(name)?.ok_or_else(|| absent(name));
        let mut remotes = vec![described(&weights)?];
        if weights.ends_with(".index.json") {
            let index = small(client, &remotes[0])?;
            let shards = sharded::shards(&weights, &index);
            for shard in shards
                .map_err(|e| StoreError::Content(e.to_string()))?
                .keys()
            {
                remotes.push(described(shard)?);
            }
        }
        for config in [CONFIG, PREPROCESSOR] {
            remotes.extend(client.describe(config)?);
        }
        Ok(Self { weights, remotes })
    }

    /// A name for these versions of the files.
    fn version(&self) -> String {
        let of = |file: &Remote| format!("{} {} {}\n", file.name, file.size, file.version);
        let all: Vec<String> = self.remotes.iter().map(of).collect();
        let parts: Vec<&str> = all.iter().map(String::as_str).collect();
        hash(&parts)[..32].to_owned()
    }
}

/// SHA-256 in hexadecimal.
fn hash(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.concat());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of a small file.
fn small(client: &Client, file: &Remote) -> Result<Vec<u8>> {
    if file.size > MAX_SMALL {
        return Err(StoreError::Content(format!(
            "{} has {} bytes; at most {MAX_SMALL} are supported",
            file.name, file.size
        )));
    }
    let mut content = Vec::new();
    let read = client.read(file, 0, &mut |bytes| {
        content.extend_from_slice(bytes);
        Ok(())
    });
    read.map_err(|stop| match stop {
        Stop::Store(error) => error,
        Stop::Broken(reason) => StoreError::Fetch {
            file: file.name.clone(),
            reason,
        },
        Stop::Disk(error) => StoreError::Content(error.to_string()),
    })?;
    Ok(content)
}

/// The folder of a checkpoint in the cache.
struct Cached {
    /// The cache, for errors.
    root: PathBuf,
    folder: PathBuf,
}

impl Cached {
    fn disk(&self, source: io::Error) -> StoreError {
        StoreError::Cache {
            cache: self.root.clone(),
            source,
        }
    }

    /// The weights of the version that was opened last, if it is complete.
    fn current(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        let (version, weights) = text.trim_end().split_once('/')?;
        let path = self.folder.join(version).join(weights);
        path.is_file().then_some(path)
    }

    /// Remembers the version that is opened, and removes all but it and the one before
    /// it, which another process may be opening.
    fn select(&self, version: &str, weights: &str) -> Result<()> {
        let before = fs::read_to_string(self.folder.join(CURRENT)).unwrap_or_default();
        let before = before.split('/').next().unwrap_or_default();
        if before == version {
            return Ok(());
        }
        let failed = |source| self.disk(source);
        let file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        fs::write(file.path(), format!("{version}/{weights}\n")).map_err(failed)?;
        file.persist(self.folder.join(CURRENT))
            .map_err(|error| failed(error.error))?;
        for entry in fs::read_dir(&self.folder).map_err(failed)?.flatten() {
            let name = entry.file_name();
            let is_old = name != version && name != before && entry.path().is_dir();
            if is_old && let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(%error, folder = %entry.path().display(), "cannot remove");
            }
        }
        Ok(())
    }

    /// Locks the folder against other processes, until the lock is dropped.
    fn lock(&self, name: &str) -> Result<File> {
        let locked = || {
            fs::create_dir_all(&self.folder)?;
            let file = File::create(self.folder.join("lock"))?;
            wait_for(&file, name)?;
            Ok(file)
        };
        locked().map_err(|source| self.disk(source))
    }
}

/// The download of one version.
struct Download<'a> {
    client: &'a Client,
    cached: &'a Cached,
    /// The folder of the files until all are complete.
    part: PathBuf,
    report: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// Downloads all files, and moves their folder to `complete`.
    fn all(mut self, files: &Files, complete: &Path) -> Result<()> {
        if complete.is_dir() {
            // by another process
            return Ok(());
        }
        let created = fs::create_dir_all(&self.part);
        created.map_err(|source| self.cached.disk(source))?;
        for file in &files.remotes {
            self.file(file)?;
            if file.name != CONFIG && file.name != PREPROCESSOR {
                self.verify(file)?;
            }
        }
        fs::rename(&self.part, complete).map_err(|source| self.cached.disk(source))
    }

    /// Downloads what the cache does not have of a file.
    fn file(&mut self, remote: &Remote) -> Result<()> {
        let path = self.part.join(&remote.name);
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let mut file = opened.map_err(|source| self.cached.disk(source))?;
        let mut failures = 0;
        loop {
            let end = file.seek(SeekFrom::End(0));
            let mut done = end.map_err(|source| self.cached.disk(source))?;
            if done > remote.size {
                file.set_len(0).map_err(|source| self.cached.disk(source))?;
                done = 0;
            }
            self.report(remote, done);
            if done == remote.size {
                return file.sync_all().map_err(|source| self.cached.disk(source));
            }
            let stopped = self.append(&mut file, remote, done);
            let now = file.seek(SeekFrom::End(0));
            let now = now.map_err(|source| self.cached.disk(source))?;
            failures = if now > done { 0 } else { failures + 1 };
            let reason = match stopped {
                Ok(()) => "the file is shorter than the store says".to_owned(),
                Err(Stop::Store(error)) => return Err(error),
                Err(Stop::Disk(source)) => return Err(self.cached.disk(source)),
                Err(Stop::Broken(reason)) => reason,
            };
            if now < remote.size {
                if failures >= ATTEMPTS {
                    let file = remote.name.clone();
                    return Err(StoreError::Fetch { file, reason });
                }
                tracing::info!(reason, file = remote.name, "the download continues");
                std::thread::sleep(PAUSE * 2_u32.pow(failures));
            }
        }
    }

    /// Appends bytes until the file or the connection ends.
    fn append(
        &mut self,
        file: &mut File,
        remote: &Remote,
        start: u64,
    ) -> std::result::Result<(), Stop> {
        let mut done = start;
        let client = self.client;
        client.read(remote, start, &mut |bytes| {
            let rest = usize::try_from(remote.size - done).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(rest)];
            file.write_all(bytes)?;
            done += bytes.len() as u64;
            self.report(remote, done);
            Ok(())
        })
    }

    fn report(&mut self, remote: &Remote, done: u64) {
        (self.report)(Progress {
            file: &remote.name,
            done,
            total: remote.size,
        });
    }

    /// Compares a file with the checksum beside it, if the store has one. A file that
    /// differs is removed.
    fn verify(&self, remote: &Remote) -> Result<()> {
        let name = format!("{}{CHECKSUM}", remote.name);
        let Some(stated) = self.client.describe(&name)? else {
            return Ok(());
        };
        let content = small(self.client, &stated)?;
        let content = String::from_utf8_lossy(&content);
        let expected = content.split_whitespace().next().unwrap_or_default();
        if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            tracing::warn!(file = name, "it states no SHA-256, and is ignored");
            return Ok(());
        }
        let path = self.part.join(&remote.name);
        let opened = Bytes::open(&path, Access::Mapped);
        let found = sha256(&[opened.map_err(|e| StoreError::Content(e.to_string()))?]);
        if found == expected.to_lowercase() {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|source| self.cached.disk(source))?;
        Err(StoreError::Checksum {
            file: remote.name.clone(),
            found,
            expected: expected.to_owned(),
        })
    }
}
