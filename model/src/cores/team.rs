//! What the workers of a team share: the gate of the open loop, the queue of
//! jobs, and who sleeps. `tests/loom.rs` runs this file and `gate.rs` through
//! every order of their steps.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::gate::Gate;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError, spin_loop};

/// How long a worker looks for work before it sleeps: longer than what lies
/// between two loops of a forward pass, too short to be seen as load.
const SPIN: Duration = Duration::from_micros(50);

pub(super) type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct State {
    gate: Gate,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Jobs in the queue and workers asleep, to be read without the lock.
    queued: AtomicUsize,
    asleep: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Default)]
pub(super) struct Queue {
    /// Those that someone waits for: first in line.
    pub(super) urgent: VecDeque<Job>,
    later: VecDeque<Job>,
}

impl State {
    /// A worker's life.
    pub(super) fn work(&self, index: usize) {
        let mut idle = Instant::now();
        loop {
            if self.gate.enter(index) || self.run_next() {
                idle = Instant::now();
            } else if self.ended() {
                return;
            } else if idle.elapsed() < SPIN {
                spin_loop();
            } else {
                self.sleep();
                idle = Instant::now();
            }
        }
    }

    /// A loop, on this worker (which of how many) and on all that are free.
    pub(super) fn each(
        &self,
        count: usize,
        worker: (usize, usize),
        body: &(dyn Fn(usize, usize) + Sync),
    ) {
        self.gate.run(count, worker, body, || self.wake_all());
    }

    /// Queues a job and wakes a worker for it.
    pub(super) fn push(&self, job: Job, urgent: bool) {
        let mut queue = self.lock();
        if urgent {
            queue.urgent.push_back(job);
        } else {
            queue.later.push_back(job);
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        self.wake.notify_one();
    }

    /// Lets the workers go once the queue is empty.
    pub(super) fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether no job is left and none will come. In this order: a job that
    /// was queued after a look at the queue is before the end all the same.
    fn ended(&self) -> bool {
        self.stop.load(Ordering::Acquire) && self.queued.load(Ordering::Relaxed) == 0
    }

    fn run_next(&self) -> bool {
        if self.queued.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut queue = self.lock();
        let job = queue.urgent.pop_front();
        let Some(job) = job.or_else(|| queue.later.pop_front()) else {
            return false;
        };
        self.queued.fetch_sub(1, Ordering::Relaxed);
        drop(queue);
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a background job panicked");
        }
        true
    }

    /// Waits for a job, a loop or the end. A job is queued under the lock that
    /// is held here. Who opens a loop or ends the team either is seen here or
    /// sees this worker asleep: both sides write, fence, then read.
    fn sleep(&self) {
        let queue = self.lock();
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let idle = self.queued.load(Ordering::Relaxed) == 0
            && !self.gate.is_open()
            && !self.stop.load(Ordering::Relaxed);
        if idle {
            drop(self.wake.wait(queue));
        }
        self.asleep.fetch_sub(1, Ordering::Relaxed);
    }

    /// After a loop was opened or the end was written.
    fn wake_all(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
            // Who was seen to fall asleep holds the lock until it does.
            drop(self.lock());
            self.wake.notify_all();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
