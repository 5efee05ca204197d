//! What a loaded version of a model has done, as protocols report it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How long an image spent in each step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Decoding and preprocessing.
    pub decode: Duration,
    /// Waiting, for a thread and for the device.
    pub queue: Duration,
    /// The forward pass of its batch.
    pub forward: Duration,
}

/// Counts of one version, since it was loaded.
#[derive(Default)]
pub struct Statistics(Mutex<Counts>);

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// When the last request ended.
    pub last_request: Option<SystemTime>,
    /// Images of requests that succeeded.
    pub images: u64,
    /// Forward passes.
    pub batches: u64,
    /// Requests whose images all have a result, from the end of the body.
    pub succeeded: Total,
    /// Other requests.
    pub failed: Total,
    /// The waiting times of requests that succeeded, the longest of each.
    pub queue: Duration,
    /// The same for decoding and preprocessing.
    pub decode: Duration,
    /// The same for forward passes.
    pub forward: Duration,
}

/// A number of requests, and their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// All together.
    pub time: Duration,
}

impl Total {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }
}

impl Statistics {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    /// A forward pass has ended.
    pub(super) fn batch(&self) {
        self.lock().batches += 1;
    }

    /// A request with this number of images has results for all of them.
    pub(super) fn succeeded(&self, images: usize, timings: Timings, took: Duration) {
        let mut counts = self.lock();
        counts.last_request = Some(SystemTime::now());
        counts.images += images as u64;
        counts.succeeded.add(took);
        counts.queue += timings.queue;
        counts.decode += timings.decode;
        counts.forward += timings.forward;
    }

    /// A request has failed, or some of its images have.
    pub(super) fn failed(&self, took: Duration) {
        let mut counts = self.lock();
        counts.last_request = Some(SystemTime::now());
        counts.failed.add(took);
    }
}
