//! The Hugging Face Hub: repositories by name, in the cache on disk that is
//! shared with Hugging Face's libraries.
//!
//! All files come from one commit, and the reference to the commit is written
//! to the cache last. A repository is in the cache if its weights and its
//! configuration files are, or are known not to exist; then it opens without the
//! network. Other programs cache only some of the files. A branch is resolved to
//! a commit once; `name@revision` selects another revision.

mod cache;
pub(crate) mod client;
pub(crate) mod download;
pub(crate) mod error;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bytes::{Access, Bytes, sha256};
use crate::config;
use crate::error::{Error, Result};
use crate::folder::{CONFIG, PREPROCESSOR, document, weights_in};
use crate::hub::cache::RepositoryCache;
use crate::hub::client::Client;
use crate::hub::download::{Download, Progress, checksum};
use crate::hub::error::HubError;
use crate::sharded;

/// Default of [`Hub::timeout`], as in Hugging Face's libraries.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where repositories are downloaded from and stored.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Address of the Hub, `https://huggingface.co`.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Access token for private and gated repositories. Without it, the
    /// `token` file beside the cache is used. It is sent to no other host.
    pub token: Option<String>,
    /// Whether downloads are disabled, so that only the cache is used.
    pub offline: bool,
    /// Longest wait for a connection, a response, or the next bytes of a file.
    pub timeout: Duration,
}

/// A repository at one of its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `organisation/name`.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// The files of a repository in the cache.
pub(crate) struct Snapshot {
    pub(crate) weights: PathBuf,
    /// SHA-256 of the weights, if they are one file. It has been verified.
    pub(crate) digest: Option<String>,
}

/// What keeps a repository in the cache from being used.
enum Lack {
    /// A file is not there.
    Missing(String),
    /// A file has another content than its name says; the path in the snapshot.
    Damaged(PathBuf),
}

impl Hub {
    /// The Hub that the environment variables of Hugging Face's libraries
    /// describe: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN`,
    /// `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let caches = var("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
        let home = var("HF_HOME").map(PathBuf::from);
        let home = home.unwrap_or_else(|| caches.unwrap_or_else(env::temp_dir).join("huggingface"));
        let enabled = ["1", "true", "yes", "on"];
        let offline = var("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        let timeout = var("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|seconds| seconds.parse().ok());
        let timeout = timeout.filter(|seconds| *seconds > 0);
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: var("HF_TOKEN"),
            offline: offline.is_some_and(|value| enabled.contains(&value.as_str())),
            timeout: timeout.map_or(TIMEOUT, Duration::from_secs),
        }
    }

    /// The repository's files. Downloads those that are not in the cache, or
    /// damaged.
    pub(crate) fn snapshot(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Snapshot> {
        self.find_or_fetch(repository, report)
            .map_err(|reason| Error::Hub {
                repository: repository.id.clone(),
                reason,
            })
    }

    fn find_or_fetch(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> std::result::Result<Snapshot, HubError> {
        let cached = RepositoryCache::new(&self.cache, &repository.id);
        let revision = &repository.revision;
        let commit = match is_commit(revision) {
            true => Some(revision.clone()),
            false => cached.commit(revision),
        };
        let commit = commit.filter(|commit| cached.snapshot(commit).is_dir());
        let lack = match &commit {
            Some(commit) => match complete(&cached, commit) {
                Ok(snapshot) => return Ok(snapshot),
                Err(lack) => Some(lack),
            },
            None => None,
        };
        if self.offline {
            return Err(self.offline(lack));
        }
        if let Some(Lack::Damaged(path)) = lack {
            tracing::warn!(file = %path.display(), "damaged in the cache; it is fetched again");
            cache::remove(&path).map_err(|source| self.disk(source))?;
        }
        let commit = self.fetch(&cached, repository, report)?;
        complete(&cached, &commit).map_err(|lack| match lack {
            Lack::Missing(file) => HubError::Content(format!(
                "{file} disappeared from the cache during the download"
            )),
            Lack::Damaged(path) => HubError::Content(format!("{} is damaged", path.display())),
        })
    }

    /// Why a repository cannot be used without downloads.
    fn offline(&self, lack: Option<Lack>) -> HubError {
        let cache = self.cache.clone();
        match lack {
            None => HubError::Offline { cache },
            Some(Lack::Missing(file)) => HubError::Incomplete { file, cache },
            Some(Lack::Damaged(path)) => HubError::Content(format!(
                "{} is damaged, and HF_HUB_OFFLINE forbids to fetch it again",
                path.display()
            )),
        }
    }

    fn disk(&self, source: std::io::Error) -> HubError {
        HubError::Cache {
            cache: self.cache.clone(),
            source,
        }
    }

    /// Downloads the configuration files and the weights of one commit. Returns
    /// the commit.
    fn fetch(
        &self,
        cached: &RepositoryCache,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> std::result::Result<String, HubError> {
        let Repository { id, revision } = repository;
        tracing::info!(repository = id, from = self.endpoint, "downloading");
        report(Progress {
            file: id,
            done: 0,
            total: 0,
        });
        let token = self.token.clone().or_else(|| self.stored_token());
        let client = Client::new(&self.endpoint, token, self.timeout);
        let info = client.info(id, revision);
        let info =
            info.map_err(|error| HubError::of_request(error, "the list of files", &self.endpoint))?;
        if !is_commit(&info.sha) {
            return Err(HubError::Content(format!(
                "the Hub returned {:?} as the commit, which is not a commit hash; check HF_ENDPOINT",
                info.sha
            )));
        }
        let mut download = Download {
            client: &client,
            id,
            commit: &info.sha,
            endpoint: &self.endpoint,
            cache: &self.cache,
            cached,
            report,
        };
        download.model(&info.files())?;
        if !is_commit(revision) {
            let referred = cached.refer(revision, &info.sha);
            referred.map_err(|source| self.disk(source))?;
        }
        Ok(info.sha)
    }

    /// The token in the file beside the cache.
    fn stored_token(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.cache.parent()?.join("token")).ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty())
    }
}

/// The files of a commit, if all are in the cache and undamaged.
fn complete(cached: &RepositoryCache, commit: &str) -> std::result::Result<Snapshot, Lack> {
    let folder = cached.snapshot(commit);
    let missing = |file: &str| Lack::Missing(file.to_owned());
    let is_known = |file: &str| folder.join(file).is_file() || cached.is_absent(commit, file);
    if !is_known(CONFIG) {
        return Err(missing(CONFIG));
    }
    let config = document(&folder.join(CONFIG));
    let config = config.map_err(|_| Lack::Damaged(folder.join(CONFIG)))?;
    if !config.is_some_and(|config| config::is_complete(&config)) {
        if !is_known(PREPROCESSOR) {
            return Err(missing(PREPROCESSOR));
        }
        let preprocessor = document(&folder.join(PREPROCESSOR));
        preprocessor.map_err(|_| Lack::Damaged(folder.join(PREPROCESSOR)))?;
    }
    let weights = weights_in(&folder).map_err(|_| missing("a file of weights"))?;
    if !weights.is_file() {
        return Err(missing(&name_of(&weights)));
    }
    if weights.extension().is_none_or(|ending| ending != "json") {
        let digest = verified(&weights)?;
        return Ok(Snapshot { weights, digest });
    }
    let shards = sharded::files(&weights).map_err(|_| Lack::Damaged(weights.clone()))?;
    for shard in shards {
        let path = folder.join(&shard);
        if !path.is_file() {
            return Err(missing(&shard));
        }
        verified(&path)?;
    }
    let digest = None;
    Ok(Snapshot { weights, digest })
}

/// The SHA-256 of a file, if its name in the cache states one.
fn verified(path: &Path) -> std::result::Result<Option<String>, Lack> {
    let damaged = || Lack::Damaged(path.to_owned());
    let blob = path.canonicalize().map_err(|_| damaged())?;
    let name = name_of(&blob);
    let Some(expected) = checksum(&name) else {
        return Ok(None);
    };
    let bytes = Bytes::open(&blob, Access::Mapped).map_err(|_| damaged())?;
    let found = sha256(&[bytes]);
    (found == expected)
        .then_some(Some(found))
        .ok_or_else(damaged)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether `revision` is a full commit hash.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
