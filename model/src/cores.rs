//! The processor's cores, shared by everything that computes: forward passes
//! and the decoding of photos run on one team of threads, so they never
//! oversubscribe it.
//!
//! A forward pass is a hundred short parallel loops. A worker that is free
//! takes the next piece of the loop that is open before any queued job; one
//! that is busy with a job is not waited for. Between loops the workers spin
//! for some microseconds, then sleep.

mod gate;
mod sync;
mod team;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, mpsc};

use crate::error::{Error, Result};
use team::{Job, State};

/// A team of worker threads, one for each core this process may use.
#[derive(Clone)]
pub struct Cores(Arc<Team>);

/// Ends the workers when the last handle goes.
struct Team {
    state: Arc<State>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Where a job waits for the worker that runs it. An address: what is borrowed
/// by a call's arguments must outlive the call, and whoever waits for a result
/// goes on while the call that sent it has yet to return.
struct Place<F>(*mut Option<F>);

// SAFETY: it hands the job over, once.
unsafe impl<F: Send> Send for Place<F> {}

impl<F> Place<F> {
    /// # Safety
    /// The place must still be there, and nobody else at it.
    unsafe fn take(&self) -> Option<F> {
        // SAFETY: the caller's.
        unsafe { (*self.0).take() }
    }
}

thread_local! {
    /// Which worker this thread is, and of which team.
    static WORKER: Cell<Option<(usize, *const State)>> = const { Cell::new(None) };
}

impl Cores {
    /// Starts `threads` workers (at least one).
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        let state = Arc::new(State::default());
        let mut team = Team {
            state: Arc::clone(&state),
            threads: Vec::new(),
        };
        for index in 0..threads.max(1) {
            let state = Arc::clone(&state);
            let life = move || {
                WORKER.set(Some((index, Arc::as_ptr(&state))));
                state.work(index);
            };
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(life)
                .map_err(|e| Error::Option {
                    option: format!("threads {threads}"),
                    reason: e.to_string(),
                })?;
            team.threads.push(thread);
        }
        Ok(Self(Arc::new(team)))
    }

    /// Number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.threads.len()
    }

    /// Queues a job (the decoding of a photo, say) and returns at once. A job
    /// must not panic: wrap it in `catch_unwind`.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.state.push(Box::new(job), false);
    }

    /// Runs `job` on a worker, before queued jobs, and waits for it. A panic
    /// of the job goes on in the caller. `for_each` is cheapest inside.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        if self.worker().is_some() {
            return job();
        }
        let (send, receive) = mpsc::sync_channel(1);
        let mut job = Some(job);
        let place = Place(&raw mut job);
        let job = move || {
            // SAFETY: the caller waits until `send` has sent or is dropped.
            if let Some(job) = unsafe { place.take() } {
                // The caller waits for this very message.
                let _ = send.send(catch_unwind(AssertUnwindSafe(job)));
            }
        };
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(job);
        // SAFETY: the job's borrows end with it, and this function returns
        // only after `receive`: when the job sent its result, its last act,
        // or when it was dropped with its end of the channel.
        let job: Job = unsafe { std::mem::transmute(job) };
        self.0.state.push(job, true);
        match receive.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("workers run every job before they end"),
        }
    }

    /// Calls `body(i, worker)` for every `i` in `0..count`, on as many cores as
    /// are free, and returns when all are done. No two calls that run at the
    /// same time have the same `worker`, which is below [`Cores::count`]. A
    /// panic of `body` goes on in the caller. While another loop runs (`body`
    /// that calls `for_each`, two forward passes), the calls follow each other
    /// on this core.
    pub fn for_each(&self, count: usize, body: impl Fn(usize, usize) + Sync) {
        self.each(count, &body);
    }

    fn each(&self, count: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        let Some(worker) = self.worker() else {
            return self.run(|| self.each(count, body));
        };
        if count == 1 || self.count() == 1 {
            return (0..count).for_each(|i| body(i, worker));
        }
        self.0.state.each(count, (worker, self.count()), body);
    }

    /// This thread's index, if it is one of the team's.
    fn worker(&self) -> Option<usize> {
        let (index, state) = WORKER.get()?;
        std::ptr::eq(state, &raw const *self.0.state).then_some(index)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.state.end();
        let me = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last handle may go inside a job: a thread cannot await itself.
            if thread.thread().id() != me {
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
    fn every_index_is_called_once_and_workers_do_not_meet() {
        for threads in 1..if cfg!(miri) { 4 } else { 5 } {
            let cores = Cores::new(threads).unwrap();
            for count in [0, 1, 2, 7, if cfg!(miri) { 10 } else { 100 }] {
                let calls: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                let inside: Vec<_> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                cores.for_each(count, |i, worker| {
                    assert_eq!(
                        inside[worker].fetch_add(1, SeqCst),
                        0,
                        "worker {worker} twice"
                    );
                    calls[i].fetch_add(1, SeqCst);
                    std::thread::yield_now();
                    inside[worker].fetch_sub(1, SeqCst);
                });
                assert!(
                    calls.iter().all(|c| c.load(SeqCst) == 1),
                    "{threads} threads"
                );
            }
        }
    }

    #[test]
    fn loops_from_many_threads_and_nested_ones_finish() {
        let cores = Cores::new(3).unwrap();
        let sum = AtomicU64::new(0);
        let times = if cfg!(miri) { 3 } else { 50 };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..times {
                        cores.for_each(5, |i, _| {
                            cores.for_each(4, |j, _| {
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
    fn a_loop_does_not_wait_for_a_worker_that_is_busy() {
        let cores = Cores::new(2).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        cores.spawn(move || {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        start.recv().unwrap();
        let calls = AtomicUsize::new(0);
        cores.for_each(10, |_, _| {
            calls.fetch_add(1, SeqCst);
        });
        assert_eq!(calls.into_inner(), 10);
        drop(release);
    }

    #[test]
    fn a_waited_for_job_goes_before_queued_ones() {
        let cores = Cores::new(1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        cores.spawn(move || {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        // else the job that is waited for might be the first of all
        start.recv().unwrap();
        for _ in 0..5 {
            let done = Arc::clone(&done);
            cores.spawn(move || {
                done.fetch_add(1, SeqCst);
            });
        }
        let seen = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cores.run(|| done.load(SeqCst)));
            while cores.0.state.lock().urgent.is_empty() {
                std::thread::yield_now();
            }
            drop(release);
            waiting.join().unwrap()
        });
        assert_eq!(seen, 0);
        drop(cores);
        assert_eq!(done.load(SeqCst), 5, "the queue is emptied before the end");
    }

    #[test]
    fn panics_reach_the_caller_and_leave_the_team_whole() {
        let cores = Cores::new(2).unwrap();
        for _ in 0..if cfg!(miri) { 2 } else { 20 } {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                cores.for_each(8, |i, _| assert!(i != 5, "five"));
            }));
            assert!(caught.is_err());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| cores.run(|| panic!("job")))).is_err());
        assert_eq!(cores.run(|| 7), 7);
    }
}
