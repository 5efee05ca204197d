//! The state that the workers share: the active loop, the job queue and the
//! count of sleeping workers. `tests/loom.rs` checks this file and
//! `active_loop.rs` under all thread interleavings.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::active_loop::ActiveLoop;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError, spin_loop};

/// How long a worker spins before it sleeps: longer than the gaps between the
/// loops of a forward pass, too short to show up as CPU load.
const SPIN: Duration = Duration::from_micros(50);

pub(super) type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Scheduler {
    active_loop: ActiveLoop,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The number of queued jobs, readable without the lock.
    queued: AtomicUsize,
    /// The number of sleeping workers, readable without the lock.
    asleep: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Default)]
pub(super) struct Queue {
    /// Jobs whose caller is waiting; they run first.
    pub(super) urgent: VecDeque<Job>,
    background: VecDeque<Job>,
}

impl Scheduler {
    /// The main loop of worker `index`; returns after [`Scheduler::shut_down`].
    pub(super) fn run_worker(&self, index: usize) {
        let mut idle = Instant::now();
        loop {
            if self.active_loop.join(index) || self.run_next_job() {
                idle = Instant::now();
            } else if self.is_finished() {
                return;
            } else if idle.elapsed() < SPIN {
                spin_loop();
            } else {
                self.sleep();
                idle = Instant::now();
            }
        }
    }

    /// Runs a loop on this worker (its index and the number of workers) and on
    /// all idle ones.
    pub(super) fn parallel_for(
        &self,
        count: usize,
        worker: (usize, usize),
        body: &(dyn Fn(usize, usize) + Sync),
    ) {
        self.active_loop
            .run(count, worker, body, || self.wake_all());
    }

    /// Queues a job and wakes a worker for it.
    pub(super) fn push(&self, job: Job, urgent: bool) {
        let mut queue = self.lock();
        if urgent {
            queue.urgent.push_back(job);
        } else {
            queue.background.push_back(job);
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        self.wake.notify_one();
    }

    /// Makes the workers exit once the queue is empty.
    pub(super) fn shut_down(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether the pool is shut down and no job is left. `stop` is read first,
    /// with `Acquire`, so that a job queued before the shutdown is visible to
    /// the second load.
    fn is_finished(&self) -> bool {
        self.stop.load(Ordering::Acquire) && self.queued.load(Ordering::Relaxed) == 0
    }

    fn run_next_job(&self) -> bool {
        if self.queued.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut queue = self.lock();
        let job = queue.urgent.pop_front();
        let Some(job) = job.or_else(|| queue.background.pop_front()) else {
            return false;
        };
        self.queued.fetch_sub(1, Ordering::Relaxed);
        drop(queue);
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a job of the thread pool panicked");
        }
        true
    }

    /// Sleeps until there is a job, a loop or a shutdown. A job is queued under
    /// the lock that is held here. For a loop and a shutdown, both sides write,
    /// fence, then read: either this worker sees the loop or shutdown, or the
    /// other side sees this worker in `asleep` and wakes it.
    fn sleep(&self) {
        let queue = self.lock();
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let idle = self.queued.load(Ordering::Relaxed) == 0
            && !self.active_loop.is_open()
            && !self.stop.load(Ordering::Relaxed);
        if idle {
            drop(self.wake.wait(queue));
        }
        self.asleep.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes the sleeping workers. Called after a loop was published or `stop`
    /// was set.
    fn wake_all(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
            // A worker counted in `asleep` holds the lock until it waits.
            drop(self.lock());
            self.wake.notify_all();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
