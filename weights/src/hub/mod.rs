//! The Hugging Face Hub: repositories by name, in the cache on disk that is
//! shared with Hugging Face's libraries.
//!
//! All files come from one commit, and the reference to the commit is written
//! to the cache last. A repository in the cache is therefore complete and opens
//! without the network. A branch is resolved to a commit once;
//! `name@revision` selects another revision.

pub(crate) mod download;
pub(crate) mod error;

use std::env;
use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::error::{Error, Result};
use crate::folder::weights_in;
use crate::hub::download::{Download, Progress};
use crate::hub::error::HubError;
use crate::sharded;

/// Retries after a broken connection; each resumes the download.
const RETRIES: usize = 3;

/// Where repositories are downloaded from and stored.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Address of the Hub, `https://huggingface.co`.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Access token for private and gated repositories. Without it, the
    /// `token` file beside the cache is used. `hf-hub` also sends the token to
    /// the storage host that the Hub redirects to, when it requests the size of
    /// a file.
    pub token: Option<String>,
    /// Whether downloads are disabled, so that only the cache is used.
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

impl Hub {
    /// The Hub that the environment variables of Hugging Face's libraries
    /// describe: `HF_ENDPOINT`, `HF_HUB_CACHE` or
    /// `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let caches = var("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| env::home_dir().map(|home| home.join(".cache")));
        let home = var("HF_HOME").map(PathBuf::from);
        let home = home.unwrap_or_else(|| caches.unwrap_or_else(env::temp_dir).join("huggingface"));
        let enabled = ["1", "true", "yes", "on"];
        let offline = var("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: var("HF_TOKEN"),
            offline: offline.is_some_and(|value| enabled.contains(&value.as_str())),
        }
    }

    /// The folder with the repository's files. Downloads them unless they are in
    /// the cache.
    pub(crate) fn folder(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf> {
        if let Some(folder) = self.cached(repository) {
            tracing::debug!(repository = repository.id, folder = %folder.display(), "the repository is in the cache");
            return Ok(folder);
        }
        let fetched = if self.offline {
            Err(HubError::Offline {
                cache: self.cache.clone(),
            })
        } else {
            self.fetch(repository, report)
        };
        fetched.map_err(|reason| Error::Hub {
            repository: repository.id.clone(),
            reason,
        })
    }

    /// The folder of the revision in the cache, if its weights are complete.
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

    /// Downloads the configuration files and the weights of one commit.
    fn fetch(
        &self,
        repository: &Repository,
        report: &mut dyn FnMut(Progress),
    ) -> std::result::Result<PathBuf, HubError> {
        let cache = Cache::new(self.cache.clone());
        let token = self.token.clone().or_else(|| cache.token());
        let api = ApiBuilder::from_cache(cache)
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(token)
            .with_progress(false)
            .with_retries(RETRIES)
            .build();
        let api_error = |file: &str, error: ApiError| {
            HubError::from_api(error, file, &self.endpoint, &self.cache)
        };
        let list = |error: ApiError| api_error("the list of files", error);
        let api = api.map_err(list)?;
        let info = api
            .repo(repository.at(&repository.revision))
            .info()
            .map_err(list)?;
        if !is_commit(&info.sha) {
            return Err(HubError::Content(format!(
                "the Hub returned {:?} as the commit, which is not a commit hash; check HF_ENDPOINT",
                info.sha
            )));
        }
        let mut commit = Download {
            endpoint: &self.endpoint,
            cache: &self.cache,
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
        refer.map_err(|error| api_error("the cache", error.into()))?;
        Ok(folder)
    }

    fn cache_of(&self, repository: &Repository, revision: &str) -> CacheRepo {
        Cache::new(self.cache.clone()).repo(repository.at(revision))
    }
}

impl Repository {
    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

/// Whether `revision` is a full commit hash.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}
