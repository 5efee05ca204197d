//! The service behind the routes, from its start to its end: nothing loaded
//! yet, ready, then draining.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::admission::Admission;
use crate::classifier::Classifier;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// What every route shares.
pub struct Service {
    limits: Limits,
    metrics: Arc<Metrics>,
    admission: Admission,
    classifier: OnceLock<Classifier>,
    draining: AtomicBool,
    /// A request holds it for reading; draining takes it for writing, which
    /// waits until every reader is done.
    in_flight: Arc<RwLock<()>>,
}

/// A request that was let in. Draining waits for it to be dropped.
pub struct Visit<'a> {
    /// The classifier, which is ready.
    pub classifier: &'a Classifier,
    _in_flight: OwnedRwLockReadGuard<()>,
}

impl Service {
    /// A service that answers its health but has no network yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::new());
        let admission = Admission::new(limits.queue, limits.body_memory, Arc::clone(&metrics));
        Self {
            limits,
            metrics,
            admission,
            classifier: OnceLock::new(),
            draining: AtomicBool::new(false),
            in_flight: Arc::default(),
        }
    }

    /// Opens the doors: from now on images are classified. A second call
    /// changes nothing.
    pub fn open(&self, classifier: Classifier) {
        let _ = self.classifier.set(classifier);
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Who may come in.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The classifier, once it is warm, until draining begins or its device is
    /// lost.
    ///
    /// # Errors
    /// 503 while starting, while draining and without a device.
    pub fn ready(&self) -> Result<&Classifier, Problem> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(draining());
        }
        let classifier = self.classifier.get().ok_or_else(|| {
            Problem::new(
                Kind::Starting,
                "the model is being loaded; try again after the time in Retry-After",
            )
        })?;
        match classifier.network().fault() {
            None => Ok(classifier),
            // which card and why is in the log
            Some(_) => Err(Problem::new(
                Kind::DeviceLost,
                "this server's device has failed; send the request again, to another one",
            )),
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn enter(&self) -> Result<Visit<'_>, Problem> {
        // The lock comes first: a request that sees no draining is waited for.
        let in_flight = Arc::clone(&self.in_flight)
            .try_read_owned()
            .map_err(|_| draining())?;
        Ok(Visit {
            classifier: self.ready()?,
            _in_flight: in_flight,
        })
    }

    /// Turns readiness off, lets nobody in any more and waits until every
    /// request that was let in has its answer.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        drop(self.in_flight.write().await);
    }
}

fn draining() -> Problem {
    Problem::new(
        Kind::Draining,
        "this server is shutting down; send the request again, to another one",
    )
}
