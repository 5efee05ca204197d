//! The one loop that is open to all workers, and their way in and out of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use super::sync::{Mutex, PoisonError, spin_loop, yield_now};

/// Most parts of a loop.
const PARTS: usize = 16;

/// A parallel loop, on the stack of whoever runs it.
///
/// Each worker begins with a part of its own, the same in every loop, and helps
/// in the others when that is done: what a worker wrote in one loop, the same
/// rows of the same images, it reads in the next from its own cache. Where the
/// cores share none, a line of another's takes far longer.
struct Loop<'a> {
    body: &'a (dyn Fn(usize, usize) + Sync),
    count: usize,
    workers: usize,
    parts: [Part; PARTS],
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// How many indices of a part are taken; on a cache line of its own.
#[repr(align(64))]
struct Part(AtomicUsize);

impl Loop<'_> {
    /// Takes indices until none is left.
    fn work(&self, worker: usize) {
        let count = self.workers.clamp(1, PARTS);
        let start = |part: usize| part * self.count / count;
        let own = worker * count / self.workers.max(1);
        let work = || {
            for part in (own..own + count).map(|part| part % count) {
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

/// Set in [`Gate::state`] while there are indices to take; the rest counts the
/// workers inside.
const OPEN: usize = 1 << (usize::BITS - 1);

/// Open while a loop has indices to take. A loop outlives its visitors: they
/// count themselves in only while the gate is open, in one atomic step, and
/// the owner leaves only when the gate is closed and the count is zero.
#[derive(Default)]
pub(super) struct Gate {
    owned: AtomicBool,
    state: AtomicUsize,
    current: AtomicPtr<Loop<'static>>,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) & OPEN != 0
    }

    /// Opens a loop to all, works on it, and returns when nobody does any
    /// more. `worker` is which of how many this is. `wake` is called once it is
    /// open. Where another loop is open already, this one runs on this thread
    /// alone.
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

    /// Works on the open loop, if there is one.
    pub(super) fn enter(&self, worker: usize) -> bool {
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
        // SAFETY: the gate was open when this worker was counted in, so the
        // owner is in `run` and stays there until it is counted out.
        let work = unsafe { &*self.current.load(Ordering::Relaxed) };
        work.work(worker);
        // Nothing is left: nobody else need come in.
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        self.state.fetch_sub(1, Ordering::Release);
        true
    }
}
