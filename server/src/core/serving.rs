//! The entry point for transports: admits requests while the server runs, and
//! waits for them when it shuts down.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::ThreadPool;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, oneshot};

use super::admission::Admission;
use super::answer::MIN_CONFIDENCE;
use super::cache::cache::Cache;
use super::error::Error;
use super::keys::Keys;
use super::limits::Limits;
use super::metrics::{Budget, Metrics};
use super::registry::loader::Loader;
use super::registry::registry::Registry;
use super::registry::status::Readiness;
use super::scheduler::{Flow, Scheduler};

/// What all transports share.
pub struct Serving {
    limits: Limits,
    min_confidence: f64,
    cache: Option<Cache>,
    metrics: Arc<Metrics>,
    admission: Admission,
    keys: Keys,
    registry: Registry,
    /// For work that belongs to no model.
    flow: Flow,
    scheduler: Scheduler,
    leaving: AtomicBool,
    draining: AtomicBool,
    /// Each request holds it for reading. Draining takes it for writing, which
    /// waits for all of them.
    in_flight: Arc<RwLock<()>>,
}

/// A request in flight. Draining waits until it is dropped.
pub struct InFlight(#[allow(dead_code, reason = "held until dropped")] OwnedRwLockReadGuard<()>);

impl Serving {
    /// A server without models. `memory_limit` is in bytes, for all models
    /// together.
    #[must_use]
    pub fn new(
        limits: Limits,
        memory_limit: Option<usize>,
        pool: ThreadPool,
        loader: Box<dyn Loader>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let scheduler = Scheduler::new(pool);
        Self {
            admission: Admission::new(
                limits.max_in_flight,
                limits.body_memory,
                Arc::clone(&metrics),
            ),
            registry: Registry::new(
                loader,
                limits.clone(),
                memory_limit,
                scheduler.clone(),
                Arc::clone(&metrics),
            ),
            keys: Keys::default(),
            flow: scheduler.flow(),
            scheduler,
            limits,
            min_confidence: MIN_CONFIDENCE,
            cache: None,
            metrics,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            in_flight: Arc::default(),
        }
    }

    /// The same server; `min_confidence` is the probability that a category
    /// needs if the request does not say it.
    #[must_use]
    pub fn with_min_confidence(self, min_confidence: f64) -> Self {
        Self {
            min_confidence,
            ..self
        }
    }

    /// The same server, which keeps outputs of up to `bytes` bytes for equal images.
    #[must_use]
    pub fn with_cache(self, bytes: Option<usize>) -> Self {
        let cache = bytes.map(|bytes| Cache::new(bytes, Arc::clone(&self.metrics)));
        Self { cache, ..self }
    }

    /// The outputs that it keeps, if it does.
    #[must_use]
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// The probability that a category needs if the request does not say it.
    #[must_use]
    pub fn min_confidence(&self) -> f64 {
        self.min_confidence
    }

    /// The limits it enforces.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How much of each limit is in use.
    #[must_use]
    pub fn budgets(&self) -> Vec<Budget> {
        let models = Budget {
            name: "models",
            used: self.registry.memory(),
            limit: self.registry.memory_limit(),
        };
        let mut budgets = self.admission.budgets().to_vec();
        budgets.push(models);
        budgets
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// See [`Metrics::render`].
    pub fn metrics_page(&self) -> Result<String, fmt::Error> {
        self.metrics.budgets(&self.budgets());
        self.metrics.render()
    }

    /// Admission control for images and bytes.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The API keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The models.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether requests should be sent to this server: the models that are
    /// loaded at start have been loaded, or have failed, and no shutdown has
    /// begun. Returns which models failed.
    ///
    /// # Errors
    /// Which models are still loading; a shutdown; a device that is lost; work
    /// that does not end.
    pub fn ready(&self) -> Result<Readiness, Error> {
        if self.is_leaving() {
            return Err(Error::Draining);
        }
        let stalled = self.scheduler.progress().stalled_for();
        if stalled > self.limits.request_timeout {
            return Err(Error::Stalled {
                seconds: stalled.as_secs(),
            });
        }
        let readiness = self.registry.readiness();
        if !readiness.configured {
            let models = "the configuration".into();
            return Err(Error::Starting { models });
        }
        if !readiness.loading.is_empty() {
            let models = readiness.loading.join(", ");
            return Err(Error::Starting { models });
        }
        match readiness.lost.first() {
            Some(model) => Err(Error::DeviceLost {
                model: model.clone(),
            }),
            None => Ok(readiness),
        }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// [`Error::Draining`].
    pub fn enter(&self) -> Result<InFlight, Error> {
        // The lock is taken first: a request that sees no draining is waited for.
        let guard = Arc::clone(&self.in_flight)
            .try_read_owned()
            .map_err(|_| Error::Draining)?;
        match self.draining.load(Ordering::SeqCst) {
            true => Err(Error::Draining),
            false => Ok(InFlight(guard)),
        }
    }

    /// Turns readiness off. Requests are still served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// Whether a shutdown has begun.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Turns readiness off, rejects new requests and waits for those in flight.
    pub async fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::SeqCst);
        drop(self.in_flight.write().await);
    }

    /// Runs a short job on the thread pool instead of a thread that serves
    /// sockets.
    ///
    /// # Errors
    /// When the job panics.
    pub async fn run_job<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, result) = oneshot::channel();
        self.flow.spawn(move || {
            if sender.is_closed() {
                return;
            }
            // A panic drops the sender, which the receiver reports.
            let _ = catch_unwind(AssertUnwindSafe(|| sender.send(job())));
        });
        result.await.map_err(|_| Error::Panicked("parsing"))
    }
}
