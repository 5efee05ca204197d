//! What changes while the server runs: model files, the configuration, API keys and
//! the certificate.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::access::Access;
use crate::config::serve::{Config, ServeFlags};
use crate::core::registry::watch::watch as watch_files;
use crate::core::serving::Serving;
use crate::http::tls::Tls;
use crate::shutdown::Hangup;

/// Follows changed files and SIGHUP until it is aborted.
pub(super) async fn follow(
    serving: Arc<Serving>,
    mut hangup: Hangup,
    interval: Option<Duration>,
    reload: Arc<Reload>,
) {
    let files = async {
        let Some(interval) = interval else { return };
        let (reload, serving) = (Arc::clone(&reload), Arc::clone(&serving));
        let registry = serving.registry().clone();
        let rescan = move || {
            reload.certificate();
            reload.keys(&serving);
            if reload.repository_changed() {
                reload.apply(&serving);
            }
        };
        watch_files(registry, interval, rescan).await;
    };
    let signals = async {
        loop {
            hangup.next().await;
            tracing::info!(
                "SIGHUP: reloading the models, the API keys and the certificate; other settings \
                 need a restart"
            );
            let (reload, serving) = (Arc::clone(&reload), Arc::clone(&serving));
            let reread = move || {
                reload.apply(&serving);
                reload.certificate();
                reload.keys(&serving);
                let registry = serving.registry();
                registry.retry_failed();
                // Twice: the second scan finds the files unchanged and loads them.
                registry.scan();
                registry.scan();
            };
            // File systems may block. A panic has been logged.
            let _ = tokio::task::spawn_blocking(reread).await;
        }
    };
    tokio::join!(files, signals);
}

/// Reads the configuration again while the server runs. Only the models, the API
/// keys and the certificate follow it; other settings need a restart.
pub(super) struct Reload {
    flags: ServeFlags,
    repository: Option<PathBuf>,
    listed: Mutex<Option<BTreeSet<OsString>>>,
    access: Access,
    /// The bytes of the file of API keys.
    keys: Mutex<Option<Vec<u8>>>,
    tls: Option<Arc<Tls>>,
    /// Why the certificate could not be read the last time.
    tls_error: Mutex<String>,
}

impl Reload {
    pub(super) fn new(flags: ServeFlags, config: &Config, tls: Option<Arc<Tls>>) -> Self {
        let access = config.access.clone();
        Self {
            flags,
            repository: config.repository.clone(),
            listed: Mutex::new(config.repository.as_deref().and_then(names)),
            keys: Mutex::new(bytes(access.keys.as_deref())),
            access,
            tls,
            tls_error: Mutex::default(),
        }
    }

    fn apply(&self, serving: &Serving) {
        match self.flags.check() {
            Ok(config) => {
                if config.access != self.access {
                    tracing::error!(
                        "api-keys, cors-origin or image-urls have other values, which need a restart"
                    );
                }
                let registry = serving.registry();
                registry.apply(config.models, &config.default_model);
            }
            Err(errors) => tracing::error!(%errors, "the configuration is not reloaded"),
        }
    }

    /// Reads the certificate again if its files have changed.
    fn certificate(&self) {
        let Some(reloaded) = self.tls.as_ref().map(|tls| tls.reload()) else {
            return;
        };
        let error = reloaded
            .as_ref()
            .map_or_else(ToString::to_string, |_| String::new());
        let mut last = self
            .tls_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != error;
        *last = error;
        match reloaded {
            Ok(true) => tracing::info!("the certificate is reloaded"),
            Err(error) if is_new => {
                tracing::error!(%error, "the certificate is not reloaded; the last one is used");
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// Reads the API keys again if their file has changed.
    fn keys(&self, serving: &Serving) {
        if self.access.keys.is_none() {
            return;
        }
        let found = bytes(self.access.keys.as_deref());
        let mut read = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == found {
            return;
        }
        match self.access.keys() {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the API keys are reloaded");
                serving.keys().replace(keys);
            }
            Err(error) => {
                tracing::error!(%error, "the API keys are not reloaded; the last ones are used");
            }
        }
        *read = found;
    }

    /// Whether models have been added to the repository's folder or removed
    /// since the last call.
    fn repository_changed(&self) -> bool {
        let Some(folder) = &self.repository else {
            return false;
        };
        let found = names(folder);
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that cannot be listed for a moment removes no model.
        let changed = found.is_some() && *listed != found;
        if changed {
            *listed = found;
        }
        changed
    }
}

/// The contents of a file, if there is one.
fn bytes(path: Option<&Path>) -> Option<Vec<u8>> {
    std::fs::read(path?).ok()
}

fn names(folder: &Path) -> Option<BTreeSet<OsString>> {
    let entries = std::fs::read_dir(folder).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name()).collect())
}
