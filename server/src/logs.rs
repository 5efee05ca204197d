//! The log on standard error: text on a terminal, JSON lines otherwise.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::logs::LogConfig;

/// Starts the log on standard error and sends the messages of panics to it.
///
/// # Errors
/// When a log is already running.
pub fn start(config: &LogConfig) -> Result<(), TryInitError> {
    let log = fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::new(&config.levels));
    if config.json {
        log.json().flatten_event(true).finish().try_init()?;
    } else {
        let colours = std::io::stderr().is_terminal();
        log.with_ansi(colours)
            .with_target(false)
            .finish()
            .try_init()?;
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic ends one request, not the process, so it is logged as an error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    // the image gets an error that names its format
    if preprocess::is_decoding() {
        return;
    }
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, "panic");
}
