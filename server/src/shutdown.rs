//! The signals that the server handles: SIGTERM and SIGINT shut it down, SIGHUP
//! reloads its configuration.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, which orchestrators send, and SIGINT, which Ctrl-C sends.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers; from now on the signals do not end the process.
    ///
    /// # Errors
    /// When the operating system rejects a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal. From then on a second one ends the process
    /// at once.
    pub async fn first(mut self) {
        let number = self.next().await;
        tracing::info!(
            signal = number,
            "shutting down; a second signal ends the process at once"
        );
        tokio::spawn(async move {
            let number = self.next().await;
            tracing::warn!(signal = number, "a second signal ends the process");
            // The exit status that a shell reports for a process killed by a signal.
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

/// SIGHUP.
pub struct Hangup(Signal);

impl Hangup {
    /// Installs the handler; from now on the signal does not end the process.
    ///
    /// # Errors
    /// When the operating system rejects a handler.
    pub fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
