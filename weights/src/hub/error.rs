//! Why a repository of the Hugging Face Hub could not be opened.

use std::io;
use std::path::PathBuf;

use crate::hub::client::RequestError;

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
    /// The repository is in the cache in part, and downloads are disabled.
    #[error(
        "{file} is not in the cache at {}, and HF_HUB_OFFLINE forbids to fetch it; download the repository first or unset HF_HUB_OFFLINE",
        cache.display()
    )]
    Incomplete {
        /// The missing file.
        file: String,
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
        source: Box<RequestError>,
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
    /// The error of a request for `file` of `endpoint`.
    pub(super) fn of_request(error: RequestError, file: &str, endpoint: &str) -> Self {
        let status = match &error {
            RequestError::Http(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        match status {
            Some(401 | 403) => Self::Denied,
            Some(404) => Self::Absent,
            _ => Self::Fetch {
                file: file.to_owned(),
                endpoint: endpoint.to_owned(),
                source: Box::new(error),
            },
        }
    }
}
