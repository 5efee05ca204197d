//! The Hugging Face Hub: repositories by name, through the same cache on disk
//! as every other program that uses it.
//!
//! All files come from one commit, and the cache's reference to it is written
//! last: a repository that is in the cache is there as a whole, and opens
//! without the network. A branch is looked up once; `name@revision` asks for
//! another state.

mod download;

use std::env;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::error::{Error, Result};
use crate::folder::{CONFIG, PREPROCESSOR, weights_among, weights_in};
use crate::sharded;
use download::Download;

/// Tries after a connection breaks; each goes on where the last one ended.
const RETRIES: usize = 3;

/// Where repositories come from and are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Address of the Hub, `https://huggingface.co`.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// What proves that one may read private and gated repositories; without
    /// it, the `token` file beside the cache does. `hf-hub` asks the store that
    /// the Hub redirects to for a file's size, and shows it the token too.
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
    /// The cache could not be written.
    #[error("cannot write to the cache at {}: {source}; HF_HOME may name another folder", cache.display())]
    Cache {
        /// The cache.
        cache: PathBuf,
        /// What the system said.
        source: io::Error,
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
        let caches = var("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
        let home = var("HF_HOME").map(PathBuf::from);
        let home = home.unwrap_or_else(|| caches.unwrap_or_else(env::temp_dir).join("huggingface"));
        let truths = ["1", "true", "yes", "on"];
        let offline = var("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: var("HF_TOKEN"),
            offline: offline.is_some_and(|value| truths.contains(&value.as_str())),
        }
    }

    /// The folder with the repository's files, from the cache if it is there.
    pub(crate) fn folder(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf> {
        if let Some(folder) = self.cached(repository) {
            tracing::debug!(repository = repository.id, folder = %folder.display(), "in the cache");
            return Ok(folder);
        }
        let fetched = if self.offline {
            Err(HubFault::Offline {
                cache: self.cache.clone(),
            })
        } else {
            self.fetch(repository, report)
        };
        fetched.map_err(|fault| Error::Hub {
            repository: repository.id.clone(),
            fault,
        })
    }

    /// The folder of the revision in the cache, if its weights are all there.
    fn cached(&self, repository: &Repository) -> Option<PathBuf> {
        let revision = &repository.revision;
        let cache = self.cache_of(repository, revision);
        let folder = if is_commit(revision) {
            cache.pointer_path(revision)
        } else {
            cache.get("")?
        };
        let weights = weights_in(&folder)
            .ok()
            .filter(|weights| weights.is_file())?;
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

    /// Downloads the configurations and the weights, all of one commit.
    fn fetch(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> std::result::Result<PathBuf, HubFault> {
        let cache = Cache::new(self.cache.clone());
        let token = self.token.clone().or_else(|| cache.token());
        let api = ApiBuilder::from_cache(cache)
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(token)
            .with_progress(false)
            .with_retries(RETRIES)
            .build();
        let list = |error| self.fault("the list of files", error);
        let api = api.map_err(list)?;
        let info = api
            .repo(repository.at(&repository.revision))
            .info()
            .map_err(list)?;
        if !is_commit(&info.sha) {
            return Err(HubFault::Content(format!(
                "the Hub names an odd commit, {:?}",
                info.sha
            )));
        }
        let mut commit = Download {
            hub: self,
            cached: self.cache_of(repository, &info.sha),
            repo: api.repo(repository.at(&info.sha)),
            report,
        };
        let names: Vec<&str> = info
            .siblings
            .iter()
            .map(|file| file.rfilename.as_str())
            .collect();
        let folder = commit.model(&names)?;
        let refer = self
            .cache_of(repository, &repository.revision)
            .create_ref(&info.sha);
        refer.map_err(|error| self.fault("the cache", error.into()))?;
        Ok(folder)
    }

    fn cache_of(&self, repository: &Repository, revision: &str) -> CacheRepo {
        Cache::new(self.cache.clone()).repo(repository.at(revision))
    }

    /// What an error of the crate means.
    fn fault(&self, file: &str, error: ApiError) -> HubFault {
        match (status(&error), error) {
            (Some(401 | 403), _) => HubFault::Denied,
            (Some(404), _) => HubFault::Absent,
            (_, ApiError::IoError(source)) if is_of_disk(source.kind()) => HubFault::Cache {
                cache: self.cache.clone(),
                source,
            },
            (_, error) => HubFault::Fetch {
                file: file.to_owned(),
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

/// Whether an error can only come from files, not from the network.
fn is_of_disk(kind: ErrorKind) -> bool {
    use ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(
        kind,
        NotADirectory | PermissionDenied | ReadOnlyFilesystem | StorageFull
    )
}

/// Whether this is the full name of a commit.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
