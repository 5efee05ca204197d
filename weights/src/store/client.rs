//! The requests to an object store. The credentials and other settings of each kind of
//! store are environment variables: `AWS_*`, `GOOGLE_*`, `AZURE_*`.

use std::io;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use url::Url;

use super::error::StoreError;
use super::open::open;

/// The settings of a store among the environment variables.
const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The longest time of a whole request, which large files need. A request ends sooner
/// when its connection is silent for too long.
const LONGEST: &str = "24h";

/// A folder of an object store.
pub(super) struct Client {
    runtime: Runtime,
    store: Box<dyn ObjectStore>,
    folder: Path,
    /// The longest wait for a response, or for the next bytes.
    silence: Duration,
}

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) size: u64,
    /// Changes with the content: the ETag, the version, or the date.
    pub(super) version: String,
    etag: Option<String>,
}

impl Remote {
    fn new(name: &str, meta: ObjectMeta) -> Self {
        let version = meta.version.or_else(|| meta.e_tag.clone());
        Self {
            name: name.to_owned(),
            size: meta.size,
            version: version.unwrap_or_else(|| meta.last_modified.to_rfc3339()),
            etag: meta.e_tag,
        }
    }
}

/// Why a file was not received to its end.
pub(super) enum Stop {
    /// The store refused the request; another attempt does not help.
    Store(StoreError),
    /// Another attempt can continue.
    Broken(String),
    /// The file could not be written.
    Disk(io::Error),
}

impl Client {
    /// A client of the folder at `address`. A store that is silent for `silence` is an
    /// error.
    pub(super) fn new(address: &str, silence: Duration) -> Result<Self, StoreError> {
        // The TLS library has no cryptography of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |error: &dyn std::fmt::Display| StoreError::Content(error.to_string());
        let url = Url::parse(address).map_err(|error| failed(&error))?;
        let is_setting = |name: &str| SETTINGS.iter().any(|prefix| name.starts_with(prefix));
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            is_setting(&name).then_some((name, value))
        });
        let fixed = [
            ("timeout".to_owned(), LONGEST.to_owned()),
            (
                "connect_timeout".to_owned(),
                format!("{}ms", silence.as_millis()),
            ),
        ];
        let settings: Vec<_> = variables.chain(fixed).collect();
        let (store, folder) = open(&url, &settings, silence)?;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self {
            runtime,
            store,
            folder,
            silence,
        })
    }

    /// The result of a request. The store's own retries are part of it.
    fn wait<T>(
        &self,
        file: &str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let result = self
            .runtime
            .block_on(async { timeout(self.silence, request).await });
        match result {
            Ok(result) => result.map_err(|error| failed(file, error)),
            Err(_) => Err(StoreError::Fetch {
                file: file.to_owned(),
                reason: format!("no response within {} s", self.silence.as_secs_f64()),
            }),
        }
    }

    fn path(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    /// The names of the files in the folder, not of those below it.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let list = self.store.list_with_delimiter(Some(&self.folder));
        let found = self.wait("the list of files", list)?;
        let names = found.objects.iter();
        Ok(names
            .filter_map(|meta| Some(meta.location.filename()?.to_owned()))
            .collect())
    }

    /// Describes a file, if the store has it.
    pub(super) fn describe(&self, name: &str) -> Result<Option<Remote>, StoreError> {
        match self.wait(name, self.store.head(&self.path(name))) {
            Ok(meta) => Ok(Some(Remote::new(name, meta))),
            Err(StoreError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Passes the bytes of a file, from `start` on, to `sink`.
    pub(super) fn read(
        &self,
        file: &Remote,
        start: u64,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Stop> {
        let options = GetOptions {
            range: (start > 0).then_some(GetRange::Offset(start)),
            // A weak tag cannot be compared with `If-Match` (RFC 9110, 13.1.1).
            if_match: file.etag.clone().filter(|etag| !etag.starts_with("W/")),
            ..GetOptions::default()
        };
        let path = self.path(&file.name);
        let response = self.wait(&file.name, self.store.get_opts(&path, options));
        let mut body = response.map_err(Stop::from)?.into_stream();
        loop {
            let next = async { timeout(self.silence, body.try_next()).await };
            match self.runtime.block_on(next) {
                Ok(Ok(Some(bytes))) => sink(&bytes).map_err(Stop::Disk)?,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(failed(&file.name, error).into()),
                Err(_) => return Err(Stop::Broken("the connection is silent".into())),
            }
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fetch { reason, .. } => Self::Broken(reason),
            error => Self::Store(error),
        }
    }
}

/// The error of a request for `file`.
fn failed(file: &str, error: Error) -> StoreError {
    let file = file.to_owned();
    match error {
        Error::NotFound { .. } => StoreError::Absent { file },
        Error::Precondition { .. } => StoreError::Changed { file },
        Error::Unauthenticated { source, .. } | Error::PermissionDenied { source, .. } => {
            let reason = source.to_string();
            StoreError::Denied { file, reason }
        }
        error => StoreError::Fetch {
            file,
            reason: with_sources(&error),
        },
    }
}

/// An error and what caused it, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
