//! The state of one connection, which its socket, its requests and the
//! listener share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

/// The length of a body in chunks: its end is not known beforehand.
pub(super) const CHUNKED: u64 = u64::MAX;

/// One connection.
pub(super) struct Seat {
    state: Mutex<State>,
    /// Bytes of the current request's body that the socket has not handed on.
    body_left: AtomicU64,
    /// Asks the connection to close.
    pub(super) close: Notify,
    /// The client has closed its side while a request is in progress.
    pub(super) half_closed: Notify,
}

struct State {
    phase: Phase,
    /// Requests in progress: more than one only in HTTP/2.
    requests: usize,
    /// The connection has been asked to close, to make room for another one.
    gives_way: bool,
    /// When the connection became idle.
    idle_since: Instant,
    /// The task of the connection, which waits for a request.
    reader: Option<Waker>,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for the head of a request.
    Idle,
    /// A request is in progress.
    Busy,
    /// The last bytes of a response are not sent yet.
    Flushing,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Idle,
                requests: 0,
                gives_way: false,
                idle_since: Instant::now(),
                reader: None,
            }),
            body_left: AtomicU64::new(0),
            close: Notify::new(),
            half_closed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request with a body of this length has begun.
    pub(super) fn begin(&self, body: u64) {
        self.begin_stream();
        self.body_left.store(body, Ordering::Relaxed);
    }

    /// A request of an HTTP/2 connection has begun.
    pub(super) fn begin_stream(&self) {
        let mut state = self.lock();
        state.phase = Phase::Busy;
        state.requests += 1;
    }

    /// A request of an HTTP/2 connection has ended. The library reports no end of
    /// the last write.
    pub(super) fn end_stream(&self) {
        let mut state = self.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.phase = Phase::Idle;
            state.idle_since = Instant::now();
        }
    }

    /// The response has been handed to the HTTP library, or dropped.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        state.phase = Phase::Flushing;
        state.requests = 0;
        drop(state);
        if self.body_left.load(Ordering::Relaxed) == CHUNKED {
            self.body_left.store(0, Ordering::Relaxed);
        }
    }

    /// All bytes have been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Flushing {
            state.phase = Phase::Idle;
            state.idle_since = Instant::now();
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }

    /// No more requests come; what the client still sends is thrown away.
    pub(super) fn ended(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Idle {
            state.phase = Phase::Idle;
            state.idle_since = Instant::now();
        }
    }

    /// Asks the connection to close, to make room for another one.
    pub(super) fn give_way(&self) {
        self.lock().gives_way = true;
        self.close.notify_one();
    }

    /// Since when the connection has been idle, if it is, unless it has been asked
    /// to close.
    pub(super) fn may_close_since(&self) -> Option<Instant> {
        let state = self.lock();
        let may_close = state.phase == Phase::Idle && !state.gives_way;
        may_close.then_some(state.idle_since)
    }

    /// Since when the connection has been idle, if it is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.phase == Phase::Idle).then_some(state.idle_since)
    }

    /// Completes when no request has been in progress for this time.
    pub(super) async fn idle_for(&self, time: Duration) {
        let began = Instant::now();
        loop {
            let idle = self.idle_since().map(|since| since.max(began).elapsed());
            match idle {
                Some(idle) if idle >= time => return,
                Some(idle) => sleep(time - idle).await,
                None => sleep(time / 10).await,
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().phase == Phase::Idle
    }

    /// Wakes the task when the connection becomes idle; false if it is idle.
    pub(super) fn wake_when_idle(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Idle {
            return false;
        }
        state.reader = Some(context.waker().clone());
        true
    }

    pub(super) fn body_left(&self) -> u64 {
        self.body_left.load(Ordering::Relaxed)
    }

    /// The socket has handed on `bytes` of the body.
    pub(super) fn body_read(&self, bytes: usize) {
        let left = self.body_left();
        if left != CHUNKED {
            let left = left.saturating_sub(bytes as u64);
            self.body_left.store(left, Ordering::Relaxed);
        }
    }
}
