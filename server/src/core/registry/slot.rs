//! One version of a model in the registry: its state, and its instance once it
//! is loaded. Replacing the instance is one assignment, so a request gets
//! either the old or the new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use super::loader::{Fingerprint, LoadError};
use crate::core::instance::Instance;

/// State of a version, as reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not in memory.
    Unloaded,
    /// The first load is in progress or queued.
    Loading,
    /// Requests are served.
    Ready,
    /// The load failed and there is no earlier instance.
    Failed,
}

impl State {
    /// In lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unloaded => "unloaded",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// One version of a model.
pub(super) struct Slot {
    pub(super) version: u64,
    /// Held during a load: the loads of a version follow each other.
    pub(super) loading: AsyncMutex<()>,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub(super) instance: Option<Arc<Instance>>,
    pub(super) state: State,
    /// Why the last load failed; also of a reload that left `instance` as is.
    pub(super) reason: Option<String>,
    /// When the last load failed; `None` after one that succeeded.
    pub(super) failed_at: Option<Instant>,
    /// Whether a load was tried.
    pub(super) tried: bool,
    /// The files of the last load, or of one that a scan has requested.
    pub(super) loaded: Option<Fingerprint>,
    /// Whether the next scan loads the files although they have not changed.
    pub(super) retry: bool,
    /// Increased by each unload: a load that began before it installs nothing.
    pub(super) generation: u64,
    /// Files that the last scan saw.
    pub(super) seen: Option<Fingerprint>,
    /// Whether changed files are loaded; not after an explicit unload.
    pub(super) follows_files: bool,
    pub(super) last_used: Instant,
}

impl Slot {
    pub(super) fn new(version: u64) -> Self {
        Self {
            version,
            loading: AsyncMutex::default(),
            inner: Mutex::new(Inner {
                instance: None,
                state: State::Unloaded,
                reason: None,
                failed_at: None,
                tried: false,
                loaded: None,
                retry: false,
                generation: 0,
                seen: None,
                follows_files: true,
                last_used: Instant::now(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance, if it is loaded; counts as a use of it.
    pub(super) fn instance(&self) -> Option<Arc<Instance>> {
        let mut inner = self.lock();
        inner.last_used = Instant::now();
        inner.instance.clone()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.lock().instance.is_some()
    }

    /// A load will begin. Returns the generation that it belongs to.
    pub(super) fn queued(&self) -> u64 {
        let mut inner = self.lock();
        inner.follows_files = true;
        if inner.instance.is_none() {
            inner.state = State::Loading;
            inner.reason = None;
        }
        inner.generation
    }

    /// As [`Slot::queued`]; `None` if the version is loaded, loading or failed,
    /// or if it was unloaded on request.
    pub(super) fn queued_if_idle(&self) -> Option<u64> {
        let mut inner = self.lock();
        if inner.state != State::Unloaded || !inner.follows_files {
            return None;
        }
        (inner.state, inner.reason) = (State::Loading, None);
        Some(inner.generation)
    }

    /// The generation of a load that begins now.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The load of the files with this fingerprint failed. An earlier instance
    /// goes on serving. Nothing changes if the version was unloaded since the
    /// load began.
    pub(super) fn failed(&self, generation: u64, files: Option<Fingerprint>, error: &LoadError) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        (inner.tried, inner.loaded, inner.retry) = (true, files, false);
        inner.failed_at = Some(Instant::now());
        inner.reason = Some(error.to_string());
        if inner.instance.is_none() {
            inner.state = State::Failed;
        }
    }

    /// Puts a new instance in place and returns the one it replaces.
    ///
    /// # Errors
    /// When the version was unloaded since the load began.
    pub(super) fn replace(
        &self,
        generation: u64,
        files: Option<Fingerprint>,
        instance: Arc<Instance>,
    ) -> Result<Option<Arc<Instance>>, LoadError> {
        let mut inner = self.lock();
        if inner.generation != generation {
            return Err(LoadError::Unloaded);
        }
        (inner.tried, inner.loaded, inner.retry) = (true, files, false);
        inner.seen = files;
        inner.failed_at = None;
        inner.reason = None;
        inner.state = State::Ready;
        inner.last_used = Instant::now();
        Ok(inner.instance.replace(instance))
    }

    /// Takes the instance out, for `reason` if one is to be reported.
    pub(super) fn unload(&self, reason: Option<&str>) -> Option<Arc<Instance>> {
        let mut inner = self.lock();
        inner.state = State::Unloaded;
        inner.reason = reason.map(str::to_owned);
        inner.generation += 1;
        inner.retry = false;
        inner.instance.take()
    }

    /// Whether a scan that saw `files` asks for a load: they differ from those
    /// of the last load and have not changed since the scan before, so that no
    /// file is read while it is still being written.
    pub(super) fn observe(&self, files: Option<Fingerprint>) -> bool {
        let mut inner = self.lock();
        let settled = inner.seen == files;
        inner.seen = files;
        let changed = inner.tried && (inner.loaded != files || inner.retry);
        let load = changed && files.is_some() && settled && inner.follows_files;
        if load {
            // Later scans do not request the same load again.
            (inner.loaded, inner.retry) = (files, false);
        }
        load
    }

    /// Why a load that failed a moment ago need not be tried again yet.
    pub(super) fn failed_recently(&self, pause: Duration) -> Option<String> {
        let inner = self.lock();
        let recent = inner.failed_at.is_some_and(|at| at.elapsed() < pause);
        inner.reason.clone().filter(|_| recent)
    }

    /// Makes the next scan load the files of a failed load again.
    pub(super) fn retry(&self) {
        let mut inner = self.lock();
        inner.retry = inner.reason.is_some();
    }
}
