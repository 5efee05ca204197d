//! The signals that end the process: the first one asks, the second insists.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, which orchestrators send, and SIGINT, which Ctrl-C sends.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on; the signals end the process no more by themselves.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal. After it, a second one ends the process at
    /// once.
    pub async fn first(mut self) {
        let number = self.next().await;
        tracing::info!(
            signal = number,
            "shutting down; a second signal ends at once"
        );
        tokio::spawn(async move {
            let number = self.next().await;
            tracing::warn!(signal = number, "ended by a second signal");
            // As a shell reports a process that a signal ended.
            process::exit(128 + number);
        });
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}
