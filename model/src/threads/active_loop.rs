//! The active parallel loop: its owner publishes it, idle workers join it, and
//! the owner waits until all participants have left.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use super::sync::{Mutex, PoisonError, spin_loop, yield_now};

/// The most parts of a loop.
const PARTS: usize = 16;

/// A parallel loop on the stack of its owner.
///
/// Its indices are split into one part per worker. Every worker starts with the
/// same part in each loop and then helps with the others, so in successive
/// loops it reads from its first cache what it wrote before: the same rows of the
/// same images. On CPUs whose cores share no cache, reading another core's
/// cache line takes far longer.
struct Loop<'a> {
    body: &'a (dyn Fn(usize, usize) + Sync),
    count: usize,
    workers: usize,
    parts: [Part; PARTS],
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The number of indices taken from a part, on a separate cache line to avoid
/// false sharing.
#[repr(align(64))]
struct Part(AtomicUsize);

impl Loop<'_> {
    /// Runs `body` on indices of the loop until none remain.
    fn work(&self, worker: usize) {
        let count = self.workers.clamp(1, PARTS);
        let start = |part: usize| part * self.count / count;
        let first = worker * count / self.workers.max(1);
        let work = || {
            for part in (first..first + count).map(|part| part % count) {
                let (start, end) = (start(part), start(part + 1));
                loop {
                    let i = start + self.parts[part].0.fetch_add(1, Ordering::Relaxed);
                    if i >= end {
                        break;
                    }
                    (self.body)(i, worker);
                }
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            for part in &self.parts {
                part.0.store(self.count, Ordering::Relaxed);
            }
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

/// Set in [`ActiveLoop::state`] while the loop has indices to take. The other
/// bits count the workers in the loop.
const OPEN: usize = 1 << (usize::BITS - 1);

/// At most one parallel loop that workers can join.
///
/// The loop must outlive its participants. A worker joins by incrementing the
/// count in `state` in one atomic operation, and only while `OPEN` is set. The
/// owner clears `OPEN` and then waits until the count is zero.
#[derive(Default)]
pub(super) struct ActiveLoop {
    owned: AtomicBool,
    state: AtomicUsize,
    current: AtomicPtr<Loop<'static>>,
}

impl ActiveLoop {
    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) & OPEN != 0
    }

    /// Publishes a loop, takes part in it, and returns when no worker takes
    /// part any more. The caller is worker `worker` of `workers`. `wake` is
    /// called once workers can join. If another loop is active already, this
    /// one runs entirely on the caller's thread.
    pub(super) fn run(
        &self,
        count: usize,
        (worker, workers): (usize, usize),
        body: &(dyn Fn(usize, usize) + Sync),
        wake: impl FnOnce(),
    ) {
        if self.owned.swap(true, Ordering::Acquire) {
            return (0..count).for_each(|i| body(i, worker));
        }
        let work = Loop {
            body,
            count,
            workers,
            parts: std::array::from_fn(|_| Part(AtomicUsize::new(0))),
            panic: Mutex::new(None),
        };
        self.current
            .store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
        wake();
        work.work(worker);
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.state.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < 10_000 {
                spin_loop();
            } else {
                yield_now();
            }
        }
        self.owned.store(false, Ordering::Release);
        let panic = work.panic.into_inner();
        if let Some(panic) = panic.unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }

    /// Joins the active loop. Returns false if there is none.
    pub(super) fn join(&self, worker: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & OPEN == 0 {
                return false;
            }
            match self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // SAFETY: `OPEN` was set when this worker was counted, so the owner is
        // in `run` and stays there until the count is decremented.
        let work = unsafe { &*self.current.load(Ordering::Relaxed) };
        work.work(worker);
        // No index is left, so no other worker needs to join.
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        self.state.fetch_sub(1, Ordering::Release);
        true
    }
}
