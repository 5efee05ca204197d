//! Why a repository of the Hugging Face Hub could not be opened.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiError;

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The Hub returned 401 or 403.
    #[error(
        "the Hub denies access: the repository is private, gated or does not exist; set HF_TOKEN to a token that may read it"
    )]
    Denied,
    /// The Hub returned 404.
    #[error("the Hub has no such repository or revision; check the name")]
    Absent,
    /// The repository is not in the cache, and downloads are disabled.
    #[error(
        "it is not in the cache at {}, and HF_HUB_OFFLINE forbids downloads; download it first or unset HF_HUB_OFFLINE",
        cache.display()
    )]
    Offline {
        /// Folder of the cache.
        cache: PathBuf,
    },
    /// A request to the Hub failed.
    #[error("cannot fetch {file} from {endpoint}: {source}")]
    Fetch {
        /// The requested file.
        file: String,
        /// Address of the Hub.
        endpoint: String,
        /// The error of the request.
        source: Box<ApiError>,
    },
    /// The cache could not be written.
    #[error("cannot write to the cache at {}: {source}; set HF_HOME to another folder", cache.display())]
    Cache {
        /// Folder of the cache.
        cache: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The digest of a downloaded file is wrong.
    #[error(
        "{file} was damaged in the download: its SHA-256 is {found}, expected {expected}; the file was removed, try again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Digest of the downloaded file.
        found: String,
        /// Digest that the Hub gives for the file.
        expected: String,
    },
    /// The repository holds no usable checkpoint.
    #[error("{0}")]
    Content(String),
}

impl HubError {
    /// The error that an `ApiError` stands for: of fetching `file` from
    /// `endpoint`, or of writing to `cache`.
    pub(crate) fn from_api(error: ApiError, file: &str, endpoint: &str, cache: &Path) -> Self {
        match (status(&error), error) {
            (Some(401 | 403), _) => Self::Denied,
            (Some(404), _) => Self::Absent,
            (_, ApiError::IoError(source)) if is_of_disk(source.kind()) => Self::Cache {
                cache: cache.to_owned(),
                source,
            },
            (_, error) => Self::Fetch {
                file: file.to_owned(),
                endpoint: endpoint.to_owned(),
                source: Box::new(error),
            },
        }
    }
}

/// The HTTP status in an error, also after the last retry.
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

/// Whether an error can only come from the file system, not from the network.
fn is_of_disk(kind: ErrorKind) -> bool {
    use ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(
        kind,
        NotADirectory | PermissionDenied | ReadOnlyFilesystem | StorageFull
    )
}
