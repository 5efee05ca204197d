//! Gates: a test closes one to hold a thread at a known place.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Longest wait for anything: a test that waits longer has failed.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Threads that pass a closed gate wait until it is opened, or until one of
/// them is let through.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Threads that may pass although the gate is closed.
    admitted: usize,
    waiting: usize,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    pub(crate) fn open(&self) {
        let mut state = self.state.lock().unwrap();
        (state.closed, state.admitted) = (false, 0);
        self.changed.notify_all();
    }

    /// Lets one thread through a closed gate.
    pub(crate) fn admit_one(&self) {
        self.state.lock().unwrap().admitted += 1;
        self.changed.notify_all();
    }

    /// Threads that wait at the gate.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }

    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        let held = |state: &mut State| state.closed && state.admitted == 0;
        let (mut state, wait) = self
            .changed
            .wait_timeout_while(state, TEST_TIMEOUT, held)
            .unwrap();
        state.waiting -= 1;
        state.admitted = state.admitted.saturating_sub(1);
        drop(state);
        assert!(!wait.timed_out(), "the gate was not opened");
    }
}
