//! The Hugging Face Hub: repositories by name, through the same cache on disk
//! as every other program that uses it.
//!
//! All files come from one commit, and the cache's reference to it is written
//! last: a repository that is in the cache is there as a whole, and opens
//! without the network.

use std::env;
use std::path::{Path, PathBuf};

use hf_hub::api::Progress as Receiver;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::bytes::{Bytes, sha256};
use crate::error::{Error, Result};
use crate::folder::{CONFIG, PREPROCESSOR, weights_among, weights_in};
use crate::sharded;

/// Tries after a connection breaks; each goes on where the last one ended.
const RETRIES: usize = 3;

/// Where repositories come from and are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Address of the Hub, `https://huggingface.co`.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// What proves that one may read private and gated repositories.
    pub token: Option<String>,
    /// Whether only the cache may be used.
    pub offline: bool,
}

/// A repository at one of its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `organisation/name`.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes that will be.
    pub total: u64,
}

/// Why a repository could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubFault {
    /// The Hub answered 401 or 403.
    #[error(
        "the Hub denies access: it is private or gated, or there is none of that name; set HF_TOKEN to a token that may read it"
    )]
    Denied,
    /// The Hub answered 404.
    #[error("the Hub has no such repository or revision")]
    Absent,
    /// The cache does not have it, and nothing else may be asked.
    #[error("it is not in the cache at {}, and HF_HUB_OFFLINE forbids to fetch it", cache.display())]
    Offline {
        /// The cache.
        cache: PathBuf,
    },
    /// The Hub, or the way to it, failed.
    #[error("cannot fetch {file} from {endpoint}: {source}")]
    Fetch {
        /// What was asked for.
        file: String,
        /// Where.
        endpoint: String,
        /// What went wrong.
        source: Box<ApiError>,
    },
    /// A file is not what the Hub said it would be.
    #[error(
        "{file} arrived damaged: its SHA-256 is {found}, the Hub says {expected}; it was removed, try again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Digest of what came.
        found: String,
        /// Digest the Hub promised.
        expected: String,
    },
    /// The repository does not hold what is needed.
    #[error("{0}")]
    Content(String),
}

impl Hub {
    /// The Hub as the environment describes it, by the variables that
    /// Hugging Face's libraries share: `HF_ENDPOINT`, `HF_HUB_CACHE` or
    /// `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let home = || {
            let caches = var("XDG_CACHE_HOME").map(PathBuf::from);
            let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
            caches.unwrap_or_else(env::temp_dir).join("huggingface")
        };
        let home = || var("HF_HOME").map_or_else(home, PathBuf::from);
        let truths = ["1", "true", "yes", "on"];
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: var("HF_HUB_CACHE").map_or_else(|| home().join("hub"), PathBuf::from),
            token: var("HF_TOKEN"),
            offline: var("HF_HUB_OFFLINE")
                .is_some_and(|value| truths.contains(&value.to_lowercase().as_str())),
        }
    }

    /// The folder with the repository's files, from the cache if it is there.
    pub(crate) fn folder(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf> {
        let cached = Cached::of(self, repository);
        if let Some(folder) = cached.folder() {
            tracing::debug!(repository = repository.id, folder = %folder.display(), "in the cache");
            return Ok(folder);
        }
        let fetched = if self.offline {
            Err(HubFault::Offline {
                cache: self.cache.clone(),
            })
        } else {
            self.fetch(repository, &cached, report)
        };
        fetched.map_err(|fault| Error::Hub {
            repository: repository.id.clone(),
            fault,
        })
    }

    /// Downloads the configurations and the weights, all of one commit.
    fn fetch(
        &self,
        repository: &Repository,
        cached: &Cached,
        report: &mut dyn FnMut(Progress),
    ) -> std::result::Result<PathBuf, HubFault> {
        let fault = |file: &str| {
            let file = file.to_owned();
            move |error| self.fault(file, error)
        };
        let api = self.api().map_err(fault("anything"))?;
        let info = api
            .repo(repository.at(&repository.revision))
            .info()
            .map_err(fault("the list of files"))?;
        if !is_commit(&info.sha) {
            return Err(HubFault::Content(format!(
                "the Hub names an odd commit, {:?}",
                info.sha
            )));
        }
        let names: Vec<&str> = info
            .siblings
            .iter()
            .map(|file| file.rfilename.as_str())
            .collect();
        let mut commit = Download {
            hub: self,
            cached: Cache::new(self.cache.clone()).repo(repository.at(&info.sha)),
            repo: api.repo(repository.at(&info.sha)),
            report,
        };
        for config in [CONFIG, PREPROCESSOR] {
            if names.contains(&config) {
                commit.file(config)?;
            }
        }
        let weights = weights_among(&names).map_err(HubFault::Content)?;
        let path = commit.file(weights)?;
        if weights.ends_with(".index.json") {
            for shard in sharded::files(&path).map_err(|e| HubFault::Content(e.to_string()))? {
                commit.file(&shard)?;
            }
        }
        cached
            .refer_to(&info.sha)
            .map_err(|e| self.fault("the cache".into(), e.into()))?;
        Ok(path.parent().unwrap_or(&path).to_owned())
    }

    fn api(&self) -> std::result::Result<Api, ApiError> {
        let cache = Cache::new(self.cache.clone());
        let token = self.token.clone().or_else(|| cache.token());
        ApiBuilder::from_cache(cache)
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(token)
            .with_progress(false)
            .with_retries(RETRIES)
            .build()
    }

    fn fault(&self, file: String, error: ApiError) -> HubFault {
        match status(&error) {
            Some(401 | 403) => HubFault::Denied,
            Some(404) => HubFault::Absent,
            _ => HubFault::Fetch {
                file,
                endpoint: self.endpoint.clone(),
                source: Box::new(error),
            },
        }
    }
}

impl Repository {
    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

/// Where a repository is, or will be, in the cache.
struct Cached<'a> {
    hub: &'a Hub,
    repository: &'a Repository,
}

impl<'a> Cached<'a> {
    fn of(hub: &'a Hub, repository: &'a Repository) -> Self {
        Self { hub, repository }
    }

    fn repo(&self) -> CacheRepo {
        Cache::new(self.hub.cache.clone()).repo(self.repository.at(&self.repository.revision))
    }

    /// The folder of the revision, if its weights are all there.
    fn folder(&self) -> Option<PathBuf> {
        let repo = self.repo();
        let by_commit = Some(&self.repository.revision).filter(|revision| is_commit(revision));
        let folder = match by_commit {
            Some(commit) => repo.pointer_path(commit),
            None => repo.get("")?,
        };
        let weights = weights_in(&folder).ok()?;
        let is_index = weights.extension().is_some_and(|ending| ending == "json");
        let shards = if is_index {
            sharded::files(&weights).ok()?
        } else {
            Vec::new()
        };
        shards
            .iter()
            .all(|shard| folder.join(shard).is_file())
            .then_some(folder)
    }

    fn refer_to(&self, commit: &str) -> std::io::Result<()> {
        self.repo().create_ref(commit)
    }
}

/// The download of one commit.
struct Download<'a> {
    hub: &'a Hub,
    cached: CacheRepo,
    repo: ApiRepo,
    report: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// A file's path in the cache, after a download unless an earlier try got
    /// that far.
    fn file(&mut self, name: &str) -> std::result::Result<PathBuf, HubFault> {
        let path = match self.cached.get(name) {
            Some(path) => path,
            None => self
                .download(name)
                .map_err(|error| self.hub.fault(name.to_owned(), error))?,
        };
        check(name, &path)?;
        Ok(path)
    }

    fn download(&mut self, name: &str) -> std::result::Result<PathBuf, ApiError> {
        let meter = Meter {
            report: self.report,
            file: name.to_owned(),
            done: 0,
            total: 0,
        };
        self.repo.download_with_progress(name, meter)
    }
}

/// Checks a large file against the digest that the Hub, and so the cache,
/// calls it by. Small ones are called by something else and are parsed anyway.
fn check(name: &str, path: &Path) -> std::result::Result<(), HubFault> {
    let Ok(blob) = path.canonicalize() else {
        return Ok(());
    };
    let expected = blob
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let bytes = Bytes::map(&blob).map_err(|e| HubFault::Content(e.to_string()))?;
    let found = sha256(&[bytes]);
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

/// The HTTP status that an error stands for, through its retries.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// Whether this is the full name of a commit.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
