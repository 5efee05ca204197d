//! The one loop that is open to all workers, and their way in and out of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use super::sync::{Mutex, PoisonError, spin_loop, yield_now};

/// A parallel loop, on the stack of whoever runs it.
struct Loop<'a> {
    body: &'a (dyn Fn(usize, usize) + Sync),
    count: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Loop<'_> {
    /// Takes indices until none is left.
    fn work(&self, worker: usize) {
        let work = || {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= self.count {
                    return;
                }
                (self.body)(i, worker);
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.next.store(self.count, Ordering::Relaxed);
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
    /// more. `wake` is called once it is open. Where another loop is open
    /// already, this one runs on this thread alone.
    pub(super) fn run(
        &self,
        count: usize,
        worker: usize,
        body: &(dyn Fn(usize, usize) + Sync),
        wake: impl FnOnce(),
    ) {
        if self.owned.swap(true, Ordering::Acquire) {
            return (0..count).for_each(|i| body(i, worker));
        }
        let work = Loop {
            body,
            count,
            next: AtomicUsize::new(0),
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
