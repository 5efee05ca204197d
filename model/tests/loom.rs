//! Model checking of the thread pool: loom runs `active_loop.rs` and
//! `scheduler.rs` under all thread interleavings, including those of weak
//! memory. The two files are compiled against loom's atomics and locks. loom
//! reports a lost wake-up as a deadlock, and an access after a loop or job has
//! ended as a data race.

#![cfg(not(miri))]
#![allow(clippy::unwrap_used)]

#[path = "../src/threads/active_loop.rs"]
mod active_loop;
#[path = "../src/threads/scheduler.rs"]
mod scheduler;

/// Replaces `src/threads/sync.rs`.
mod sync {
    use std::time::Duration;

    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(super) use loom::thread::yield_now;
    pub(super) use std::sync::PoisonError;

    /// A clock that makes idle workers sleep immediately, because spinning only
    /// repeats the same loads.
    pub(super) struct Instant;

    impl Instant {
        pub(super) fn now() -> Self {
            Self
        }

        pub(super) fn elapsed(&self) -> Duration {
            Duration::MAX
        }
    }
}

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use active_loop::ActiveLoop;
use scheduler::Scheduler;

/// Checks `body` under all interleavings with at most three preemptions, the
/// bound that loom recommends. Without a bound there are too many for a test.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(body);
}

/// Counters that the calls of a loop write, one each. Loom reports concurrent
/// access and access that does not synchronise with an earlier write.
struct Cells(Vec<UnsafeCell<usize>>);

// SAFETY: loom's cells are meant to be shared; they check each access.
unsafe impl Sync for Cells {}
// SAFETY: as above.
unsafe impl Send for Cells {}

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, i: usize) {
        // SAFETY: loom checks that no other thread accesses the cell.
        self.0[i].with_mut(|cell| unsafe { *cell += 1 });
    }

    fn get(&self, i: usize) -> usize {
        // SAFETY: as above.
        self.0[i].with(|cell| unsafe { *cell })
    }
}

/// Runs a loop whose counters are dropped when it ends.
fn run_loop(active_loop: &ActiveLoop, worker: usize, count: usize) {
    let cells = Cells::new(count);
    active_loop.run(count, (worker, 2), &|i, _| cells.add(i), || ());
    for i in 0..count {
        assert_eq!(cells.get(i), 1, "call {i}");
    }
}

#[test]
fn a_loop_ends_after_its_participants() {
    model(|| {
        let active_loop = Arc::new(ActiveLoop::default());
        let participant = {
            let active_loop = Arc::clone(&active_loop);
            thread::spawn(move || active_loop.join(1))
        };
        run_loop(&active_loop, 0, 2);
        participant.join().unwrap();
    });
}

#[test]
fn a_worker_of_one_loop_can_join_the_next() {
    model(|| {
        let active_loop = Arc::new(ActiveLoop::default());
        let participant = {
            let active_loop = Arc::clone(&active_loop);
            thread::spawn(move || (active_loop.join(1), active_loop.join(1)))
        };
        run_loop(&active_loop, 0, 1);
        run_loop(&active_loop, 0, 2);
        participant.join().unwrap();
    });
}

#[test]
fn concurrent_loops_share_no_participant() {
    model(|| {
        let active_loop = Arc::new(ActiveLoop::default());
        let owner = {
            let active_loop = Arc::clone(&active_loop);
            thread::spawn(move || run_loop(&active_loop, 1, 1))
        };
        let participant = {
            let active_loop = Arc::clone(&active_loop);
            thread::spawn(move || active_loop.join(2))
        };
        run_loop(&active_loop, 0, 1);
        owner.join().unwrap();
        participant.join().unwrap();
    });
}

/// An event that one thread waits for and another one sets.
#[derive(Default)]
struct Event(Mutex<bool>, Condvar);

impl Event {
    fn set(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut is_set = self.0.lock().unwrap();
        while !*is_set {
            is_set = self.1.wait(is_set).unwrap();
        }
    }
}

/// A scheduler with one worker; the test's thread takes part as well.
fn start_worker() -> (Arc<Scheduler>, thread::JoinHandle<()>) {
    let scheduler = Arc::new(Scheduler::default());
    let worker = {
        let scheduler = Arc::clone(&scheduler);
        thread::spawn(move || scheduler.run_worker(1))
    };
    (scheduler, worker)
}

#[test]
fn a_sleeping_worker_wakes_for_a_loop_and_for_the_shutdown() {
    model(|| {
        let (scheduler, worker) = start_worker();
        // Neither call ends before the other one has started, so both threads
        // are needed.
        let (first, second) = (Event::default(), Event::default());
        scheduler.parallel_for(2, (0, 2), &|i, _| match i {
            0 => {
                first.set();
                second.wait();
            }
            _ => {
                second.set();
                first.wait();
            }
        });
        scheduler.shut_down();
        worker.join().unwrap();
    });
}

#[test]
fn a_sleeping_worker_wakes_for_a_job() {
    model(|| {
        let (scheduler, worker) = start_worker();
        let event = Arc::new(Event::default());
        let job = Arc::clone(&event);
        scheduler.push(Box::new(move || job.set()), true);
        event.wait();
        scheduler.shut_down();
        worker.join().unwrap();
    });
}

#[test]
fn queued_jobs_run_before_the_shutdown() {
    model(|| {
        let (scheduler, worker) = start_worker();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let done = Arc::clone(&done);
            let job = move || {
                done.fetch_add(1, Relaxed);
            };
            scheduler.push(Box::new(job), false);
        }
        scheduler.shut_down();
        worker.join().unwrap();
        assert_eq!(done.load(Relaxed), 2);
    });
}
