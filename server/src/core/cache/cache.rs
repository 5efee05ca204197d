//! Looks up the output of an image: it is in the cache, an equal request is computing
//! it, or it is computed now and kept. If the request that computes an output is
//! cancelled, the requests that wait for it do not fail: one of them computes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::digest::{Digest, Key};
use super::entries::Entries;
use super::lookup::{Lookup, Source};
use crate::core::batch::ImageOutput;
use crate::core::error::{Error, ErrorClass};
use crate::core::metrics::Metrics;
use crate::core::round_robin::Class;
use crate::core::statistics::Timings;

/// Outputs by the content of images, for all models.
pub struct Cache {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    entries: Entries,
    running: HashMap<Flight, watch::Receiver<Option<Shared>>>,
}

/// The key of a computation that equal requests share. An image of the normal class does
/// not wait for one of the low class, which runs only while no other image waits.
type Flight = (Key, Class);

/// The result that the waiting requests get.
type Shared = Result<Arc<ImageOutput>, Error>;

/// The image that is looked up.
pub struct Asked {
    /// What the output depends on.
    pub key: Key,
    /// The content of the image.
    pub image: Digest,
    /// The class of the request.
    pub class: Class,
}

enum Found<'a> {
    Hit(Arc<ImageOutput>, Duration),
    Running(watch::Receiver<Option<Shared>>),
    Nothing(Lead<'a>),
}

impl Cache {
    /// A cache of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, metrics: Arc<Metrics>) -> Self {
        let state = State {
            entries: Entries::new(limit),
            running: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            metrics,
        }
    }

    /// The output of an image. `run` computes it, unless it is in the cache or another
    /// request computes it at the moment.
    ///
    /// # Errors
    /// Those of `run`, which are never kept.
    pub async fn output(
        &self,
        asked: &Asked,
        run: impl Future<Output = Result<ImageOutput, Error>>,
    ) -> Result<ImageOutput, Error> {
        let began = Instant::now();
        loop {
            match self.find((asked.key, asked.class)) {
                Found::Hit(output, age) => {
                    let waited = Duration::ZERO;
                    return Ok(self.copy(asked, &output, Lookup::Hit, age, waited));
                }
                Found::Running(mut outcome) => {
                    let shared = match outcome.wait_for(Option::is_some).await {
                        Ok(shared) => shared.clone(),
                        // The other request was cancelled: this one may run next.
                        Err(_) => None,
                    };
                    if let Some(shared) = shared {
                        let (lookup, age) = (Lookup::Coalesced, Duration::ZERO);
                        let waited = began.elapsed();
                        return shared.map(|o| self.copy(asked, &o, lookup, age, waited));
                    }
                }
                Found::Nothing(mut lead) => {
                    let outcome = run.await;
                    lead.share(&outcome);
                    drop(lead);
                    let outcome = outcome?;
                    let source = self.source(asked, Lookup::Miss, Duration::ZERO);
                    return Ok(ImageOutput { source, ..outcome });
                }
            }
        }
    }

    fn find(&self, flight: Flight) -> Found<'_> {
        let mut state = self.lock();
        if let Some((output, age)) = state.entries.get(&flight.0) {
            return Found::Hit(output, age);
        }
        if let Some(running) = state.running.get(&flight) {
            return Found::Running(running.clone());
        }
        let (sender, receiver) = watch::channel(None);
        state.running.insert(flight, receiver);
        Found::Nothing(Lead {
            cache: self,
            flight,
            sender,
            outcome: None,
        })
    }

    /// The output of another request, with the source and the timings of this one.
    fn copy(
        &self,
        asked: &Asked,
        output: &ImageOutput,
        lookup: Lookup,
        age: Duration,
        waited: Duration,
    ) -> ImageOutput {
        ImageOutput {
            source: self.source(asked, lookup, age),
            timings: Timings {
                queue: waited,
                ..Timings::default()
            },
            ..output.clone()
        }
    }

    fn source(&self, asked: &Asked, lookup: Lookup, age: Duration) -> Option<Source> {
        self.metrics.cache.asked(lookup);
        Some(Source {
            image: asked.image,
            lookup,
            age,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request that computes an output. When it is dropped without one, the waiting
/// requests look the output up again.
struct Lead<'a> {
    cache: &'a Cache,
    flight: Flight,
    sender: watch::Sender<Option<Shared>>,
    outcome: Option<Shared>,
}

impl Lead<'_> {
    /// Shares an outcome with the waiting requests. An error that they may not get
    /// themselves is not shared: a deadline of this request, or a lack of resources.
    fn share(&mut self, outcome: &Result<ImageOutput, Error>) {
        self.outcome = match outcome {
            Ok(output) => Some(Ok(Arc::new(output.clone()))),
            Err(error) => match error.class() {
                ErrorClass::DeadlineExceeded
                | ErrorClass::ResourceExhausted
                | ErrorClass::Unavailable => None,
                _ => Some(Err(error.clone())),
            },
        };
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.running.remove(&self.flight);
        if let Some(Ok(output)) = &self.outcome {
            let evicted = state.entries.insert(self.flight.0, Arc::clone(output));
            let (count, bytes) = (state.entries.count(), state.entries.bytes());
            self.cache.metrics.cache.holds(count, bytes, evicted);
        }
        drop(state);
        if let Some(outcome) = self.outcome.take() {
            self.sender.send_replace(Some(outcome));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
