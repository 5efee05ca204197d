//! The processor's cores, shared by everything that computes: forward passes
//! and the decoding of photos run on one pool, so they never oversubscribe it.

use std::sync::Arc;

use crate::error::{Error, Result};

/// A pool of worker threads, one for each core this process may use.
#[derive(Clone)]
pub struct Cores(Arc<rayon::ThreadPool>);

impl Cores {
    /// Starts `threads` workers (at least one).
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("core-{i}"))
            .build()
            .map_err(|e| Error::Option {
                option: format!("threads {threads}"),
                reason: e.to_string(),
            })?;
        Ok(Self(Arc::new(pool)))
    }

    /// Number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Queues a job (the decoding of a photo, say) and returns at once. A job
    /// must not panic: wrap it in `catch_unwind`.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn(job);
    }

    /// Calls `body(i, worker)` for every `i` in `0..count`, on as many cores as
    /// are free, and returns when all are done. No two calls that run at the
    /// same time have the same `worker`, which is below [`Cores::count`].
    pub fn for_each(&self, count: usize, body: impl Fn(usize, usize) + Sync) {
        use rayon::prelude::*;
        self.0.install(|| {
            (0..count)
                .into_par_iter()
                .with_max_len(1)
                .for_each(|i| body(i, rayon::current_thread_index().unwrap_or(0)));
        });
    }

    /// Runs `job` on a worker and waits for it; `for_each` inside it is
    /// cheapest there.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.0.install(job)
    }
}
