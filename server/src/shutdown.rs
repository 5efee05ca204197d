//! The signals that the server handles: SIGTERM and SIGINT shut it down, SIGHUP
//! reloads its configuration, SIGUSR1 writes its state to the log. Others that would end
//! the process are logged.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logs;

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
            logs::finish();
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

/// SIGTERM or SIGINT during a command that must not leave a partial result behind.
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// Installs the handlers; from now on the signals do not end the process.
    ///
    /// # Errors
    /// When the operating system rejects a handler or a thread.
    pub fn install() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let mut signals = {
            let _context = runtime.enter();
            Signals::install()?
        };
        let received = Arc::new(AtomicU8::new(0));
        let flag = Arc::clone(&received);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let number = runtime.block_on(signals.next());
                flag.store(u8::try_from(number).unwrap_or(u8::MAX), Ordering::SeqCst);
            })?;
        Ok(Self(received))
    }

    /// The number of the signal that has arrived.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        Some(self.0.load(Ordering::SeqCst)).filter(|number| *number > 0)
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

/// Calls `report` for each SIGUSR1 from now on.
///
/// # Errors
/// When the operating system rejects the handler.
pub fn on_report(report: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signal = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            report();
        }
    });
    Ok(())
}

/// Installs handlers for SIGUSR2 and SIGQUIT, which would end the process with
/// requests in flight. Profilers and terminals send them.
///
/// # Errors
/// When the operating system rejects a handler.
pub fn ignore_others() -> io::Result<()> {
    for kind in [SignalKind::user_defined2(), SignalKind::quit()] {
        let mut signal = signal(kind)?;
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                let signal = kind.as_raw_value();
                tracing::info!(signal, "ignored; SIGTERM shuts the server down");
            }
        });
    }
    Ok(())
}
