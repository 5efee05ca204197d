//! The gate and the team of `src/cores` in every order that their threads'
//! steps can have, weak memory included: the same two files, built of loom's
//! atomics and locks. A lost wake-up is a deadlock here, and a number touched
//! after its loop or job ended is a race.

#![cfg(not(miri))]
#![allow(clippy::unwrap_used)]

#[path = "../src/cores/gate.rs"]
mod gate;
#[path = "../src/cores/team.rs"]
mod team;

/// What `src/cores/sync.rs` takes from the standard library.
mod sync {
    use std::time::Duration;

    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
    pub(super) use loom::thread::yield_now;
    pub(super) use std::sync::PoisonError;

    /// A clock by which a worker that finds nothing sleeps at once: spinning
    /// would only look again.
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

use gate::Gate;
use team::State;

/// Every order in which at most three threads are cut off before they would
/// wait by themselves, as loom advises: all orders are too many for a test.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut every = loom::model::Builder::new();
    every.preemption_bound = every.preemption_bound.or(Some(3));
    every.check(body);
}

/// Numbers that a loop's calls write, each its own; loom sees who touches one
/// while another does, or without having seen the other's write.
struct Cells(Vec<UnsafeCell<usize>>);

// SAFETY: loom's cells are there to be shared: they check each access.
unsafe impl Sync for Cells {}
// SAFETY: as above.
unsafe impl Send for Cells {}

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, i: usize) {
        // SAFETY: loom's own check that nobody else is at it.
        self.0[i].with_mut(|cell| unsafe { *cell += 1 });
    }

    fn get(&self, i: usize) -> usize {
        // SAFETY: as above.
        self.0[i].with(|cell| unsafe { *cell })
    }
}

/// Runs a loop on `gate` whose numbers end with it.
fn one_loop(gate: &Gate, worker: usize, count: usize) {
    let cells = Cells::new(count);
    gate.run(count, (worker, 2), &|i, _| cells.add(i), || ());
    for i in 0..count {
        assert_eq!(cells.get(i), 1, "call {i}");
    }
}

#[test]
fn a_loop_ends_after_its_visitors() {
    model(|| {
        let gate = Arc::new(Gate::default());
        let visitor = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.enter(1))
        };
        one_loop(&gate, 0, 2);
        visitor.join().unwrap();
    });
}

#[test]
fn a_visitor_of_one_loop_is_counted_in_the_next() {
    model(|| {
        let gate = Arc::new(Gate::default());
        let visitor = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || (gate.enter(1), gate.enter(1)))
        };
        one_loop(&gate, 0, 1);
        one_loop(&gate, 0, 2);
        visitor.join().unwrap();
    });
}

#[test]
fn two_loops_at_once_share_no_visitor() {
    model(|| {
        let gate = Arc::new(Gate::default());
        let owner = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || one_loop(&gate, 1, 1))
        };
        let visitor = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.enter(2))
        };
        one_loop(&gate, 0, 1);
        owner.join().unwrap();
        visitor.join().unwrap();
    });
}

/// A door that one waits at until another opens it.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }
}

/// A team of one worker, the test's own thread beside it.
fn worker() -> (Arc<State>, thread::JoinHandle<()>) {
    let state = Arc::new(State::default());
    let worker = {
        let state = Arc::clone(&state);
        thread::spawn(move || state.work(1))
    };
    (state, worker)
}

#[test]
fn a_sleeper_wakes_for_a_loop_and_for_the_end() {
    model(|| {
        let (state, worker) = worker();
        // Neither call ends before the other began: both threads are needed.
        let (here, there) = (Door::default(), Door::default());
        state.each(2, (0, 2), &|i, _| match i {
            0 => {
                here.open();
                there.wait();
            }
            _ => {
                there.open();
                here.wait();
            }
        });
        state.end();
        worker.join().unwrap();
    });
}

#[test]
fn a_sleeper_wakes_for_a_job() {
    model(|| {
        let (state, worker) = worker();
        let door = Arc::new(Door::default());
        let job = Arc::clone(&door);
        state.push(Box::new(move || job.open()), true);
        door.wait();
        state.end();
        worker.join().unwrap();
    });
}

#[test]
fn the_queue_is_emptied_before_the_end() {
    model(|| {
        let (state, worker) = worker();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let done = Arc::clone(&done);
            let job = move || {
                done.fetch_add(1, Relaxed);
            };
            state.push(Box::new(job), false);
        }
        state.end();
        worker.join().unwrap();
        assert_eq!(done.load(Relaxed), 2);
    });
}
