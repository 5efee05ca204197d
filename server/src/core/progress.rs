//! Whether work gets done: when a decode or a batch has ended last, and whether
//! one is in progress.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The jobs in progress.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

struct State {
    active: usize,
    /// When a job has ended last, or when the first one began.
    last: Instant,
}

/// A job in progress. It ends when it is dropped.
pub struct Working(Progress);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            active: 0,
            last: Instant::now(),
        })))
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job begins.
    #[must_use]
    pub fn begin(&self) -> Working {
        let mut state = self.lock();
        if state.active == 0 {
            state.last = Instant::now();
        }
        state.active += 1;
        Working(self.clone())
    }

    /// How long no job has ended while there are some; zero without any.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        let state = self.lock();
        match state.active {
            0 => Duration::ZERO,
            _ => state.last.elapsed(),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.active -= 1;
        state.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_does_not_end_is_stalled() {
        let progress = Progress::default();
        let pause = Duration::from_millis(5);
        std::thread::sleep(pause);
        assert_eq!(progress.stalled_for(), Duration::ZERO, "there is no work");
        let stuck = progress.begin();
        std::thread::sleep(pause);
        let stalled = progress.stalled_for();
        assert!(stalled >= pause);
        drop(progress.begin());
        assert!(progress.stalled_for() < stalled, "another job has ended");
        drop(stuck);
        assert_eq!(progress.stalled_for(), Duration::ZERO);
    }
}
