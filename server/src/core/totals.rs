//! What the requests of each model add up to: their number and their time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The sums of all versions of all models.
#[derive(Debug, Default)]
pub struct Totals(Mutex<BTreeMap<(String, u64), ModelTotals>>);

/// The sums of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelTotals {
    /// Requests.
    pub requests: u64,
    /// From the heads of requests to their responses.
    pub total: Duration,
    /// The longest wait of an image of each request.
    pub queue: Duration,
}

impl Totals {
    /// A request has been answered; its times are the total and the queue's.
    pub fn add(&self, model: &str, version: u64, [total, queue]: [Duration; 2]) {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = models.entry((model.to_owned(), version)).or_default();
        sums.requests += 1;
        sums.total += total;
        sums.queue += queue;
    }

    /// Removes the sums of a version.
    pub(super) fn forget(&self, model: &str, version: u64) {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        models.remove(&(model.to_owned(), version));
    }

    /// Name, version and sums, in the order of the names.
    #[must_use]
    pub fn list(&self) -> Vec<(String, u64, ModelTotals)> {
        let models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |((name, version), sums): (&(String, u64), &ModelTotals)| {
            (name.clone(), *version, *sums)
        };
        models.iter().map(of).collect()
    }
}
