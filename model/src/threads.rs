//! The thread pool. Forward passes and image decoding share one pool of worker
//! threads, so they never oversubscribe the CPU.
//!
//! A forward pass consists of about a hundred short parallel loops. An idle
//! worker joins the active loop before it takes a queued job; a loop does not
//! wait for workers that are busy with a job. Between loops the workers spin
//! for some microseconds and then sleep.

mod active_loop;
mod scheduler;
mod sync;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, mpsc};

use crate::error::{Error, Result};
use scheduler::{Job, Scheduler};

/// A pool of worker threads. Clones share the workers, which end with the last
/// clone.
#[derive(Clone)]
pub struct ThreadPool(Arc<Workers>);

/// Stops the workers on drop.
struct Workers {
    scheduler: Arc<Scheduler>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// The address of a job on its caller's stack.
///
/// A raw pointer instead of a reference: the caller continues as soon as it
/// receives the result, possibly before the closure that contains this value
/// has returned, and a captured reference would have to stay valid until then.
struct JobSlot<F>(*mut Option<F>);

// SAFETY: the job moves to another thread once.
unsafe impl<F: Send> Send for JobSlot<F> {}

impl<F> JobSlot<F> {
    /// # Safety
    /// The slot must still exist, and no other thread may access it.
    unsafe fn take(&self) -> Option<F> {
        // SAFETY: guaranteed by the caller.
        unsafe { (*self.0).take() }
    }
}

thread_local! {
    /// The index of this worker thread and the scheduler that it belongs to.
    static WORKER: Cell<Option<(usize, *const Scheduler)>> = const { Cell::new(None) };
}

impl ThreadPool {
    /// Starts `threads` workers (at least one).
    ///
    /// # Errors
    /// If the operating system cannot create a thread.
    pub fn new(threads: usize) -> Result<Self> {
        let scheduler = Arc::new(Scheduler::default());
        let mut workers = Workers {
            scheduler: Arc::clone(&scheduler),
            threads: Vec::new(),
        };
        for index in 0..threads.max(1) {
            let scheduler = Arc::clone(&scheduler);
            let worker = move || {
                WORKER.set(Some((index, Arc::as_ptr(&scheduler))));
                scheduler.run_worker(index);
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(worker)
                .map_err(|e| Error::Option {
                    option: format!("threads {threads}"),
                    reason: e.to_string(),
                })?;
            workers.threads.push(thread);
        }
        Ok(Self(Arc::new(workers)))
    }

    /// Number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.threads.len()
    }

    /// Queues a job, for example the decoding of an image, and returns
    /// immediately. A job should catch its own panics; one that escapes is only
    /// logged.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.scheduler.push(Box::new(job), false);
    }

    /// Runs `job` on a worker, ahead of queued jobs, and waits for its result.
    /// A panic of the job is resumed in the caller. Called on a worker, it runs
    /// the job directly.
    ///
    /// Call [`ThreadPool::for_each`] from inside a job if you can: from other
    /// threads, each call is first handed to a worker.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        if self.worker().is_some() {
            return job();
        }
        let (send, receive) = mpsc::sync_channel(1);
        let mut job = Some(job);
        let slot = JobSlot(&raw mut job);
        let job = move || {
            // SAFETY: the caller waits until `send` has sent or is dropped.
            if let Some(job) = unsafe { slot.take() } {
                // cannot fail: the caller is waiting for this message
                let _ = send.send(catch_unwind(AssertUnwindSafe(job)));
            }
        };
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(job);
        // SAFETY: the borrows of the job end with it, and this function returns
        // only after `receive`: either the job has sent its result, which is
        // its last action, or it was dropped together with its sender.
        let job: Job = unsafe { std::mem::transmute(job) };
        self.0.scheduler.push(job, true);
        match receive.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("workers run every queued job before they exit"),
        }
    }

    /// Calls `body(i, worker)` for every `i` in `0..count` on all idle workers
    /// and returns when all calls are done.
    ///
    /// `worker` is less than [`ThreadPool::count`], and no two concurrent calls
    /// have the same one, so it can index per-thread workspace. A panic of
    /// `body` is resumed in the caller. If another loop is active already (a
    /// nested `for_each`, another forward pass), all calls run on this worker.
    pub fn for_each(&self, count: usize, body: impl Fn(usize, usize) + Sync) {
        self.parallel_for(count, &body);
    }

    fn parallel_for(&self, count: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        let Some(worker) = self.worker() else {
            return self.run(|| self.parallel_for(count, body));
        };
        if count == 1 || self.count() == 1 {
            return (0..count).for_each(|i| body(i, worker));
        }
        self.0
            .scheduler
            .parallel_for(count, (worker, self.count()), body);
    }

    /// The index of this thread if it is one of the pool's workers.
    fn worker(&self) -> Option<usize> {
        let (index, scheduler) = WORKER.get()?;
        std::ptr::eq(scheduler, &raw const *self.0.scheduler).then_some(index)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.scheduler.shut_down();
        let current = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last clone may be dropped by a job; a thread cannot join itself.
            if thread.thread().id() != current {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

    #[test]
    fn every_index_is_called_once_and_worker_indices_are_never_shared() {
        for workers in 1..if cfg!(miri) { 4 } else { 5 } {
            let threads = ThreadPool::new(workers).unwrap();
            for count in [0, 1, 2, 7, if cfg!(miri) { 10 } else { 100 }] {
                let calls: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                let inside: Vec<_> = (0..workers).map(|_| AtomicUsize::new(0)).collect();
                threads.for_each(count, |i, worker| {
                    assert_eq!(
                        inside[worker].fetch_add(1, SeqCst),
                        0,
                        "worker index {worker} used by two concurrent calls"
                    );
                    calls[i].fetch_add(1, SeqCst);
                    std::thread::yield_now();
                    inside[worker].fetch_sub(1, SeqCst);
                });
                assert!(
                    calls.iter().all(|c| c.load(SeqCst) == 1),
                    "every index is called once by {workers} workers"
                );
            }
        }
    }

    #[test]
    fn concurrent_and_nested_loops_finish() {
        let threads = ThreadPool::new(3).unwrap();
        let sum = AtomicU64::new(0);
        let times = if cfg!(miri) { 3 } else { 50 };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..times {
                        threads.for_each(5, |i, _| {
                            threads.for_each(4, |j, _| {
                                sum.fetch_add((i * j) as u64, SeqCst);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * times * (1 + 2 + 3 + 4) * (1 + 2 + 3));
    }

    #[test]
    fn a_loop_does_not_wait_for_a_busy_worker() {
        let threads = ThreadPool::new(2).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        threads.spawn(move || {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        start.recv().unwrap();
        let calls = AtomicUsize::new(0);
        threads.for_each(10, |_, _| {
            calls.fetch_add(1, SeqCst);
        });
        assert_eq!(calls.into_inner(), 10);
        drop(release);
    }

    #[test]
    fn run_takes_precedence_over_queued_jobs() {
        let threads = ThreadPool::new(1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        threads.spawn(move || {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        // without this, the urgent job might run before the blocking one
        start.recv().unwrap();
        for _ in 0..5 {
            let done = Arc::clone(&done);
            threads.spawn(move || {
                done.fetch_add(1, SeqCst);
            });
        }
        let seen = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| threads.run(|| done.load(SeqCst)));
            while threads.0.scheduler.lock().urgent.is_empty() {
                std::thread::yield_now();
            }
            drop(release);
            waiting.join().unwrap()
        });
        assert_eq!(seen, 0);
        drop(threads);
        assert_eq!(
            done.load(SeqCst),
            5,
            "all queued jobs run before the workers exit"
        );
    }

    #[test]
    fn panics_reach_the_caller_and_the_pool_stays_usable() {
        let threads = ThreadPool::new(2).unwrap();
        for _ in 0..if cfg!(miri) { 2 } else { 20 } {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                threads.for_each(8, |i, _| assert!(i != 5, "five"));
            }));
            assert!(caught.is_err());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| threads.run(|| panic!("job")))).is_err());
        assert_eq!(threads.run(|| 7), 7);
    }
}
