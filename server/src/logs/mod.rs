//! The log on standard error: text on a terminal, JSON lines otherwise.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::logs::LogConfig;

mod writer;

use writer::LogWriter;

/// The writer of the running log.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// How long the end of the process waits for a slow reader of the log.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system rejected the thread or the copy of standard error.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A log is already running.
    #[error(transparent)]
    Running(#[from] TryInitError),
}

/// Where spans go.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts the log on standard error and sends the messages of panics to it. The log
/// has no spans: they go to `spans`, or are not made at all.
///
/// # Errors
/// When a log is already running, or its thread cannot start.
pub fn start(config: &LogConfig, spans: Option<Spans>) -> Result<(), Error> {
    // A descriptor of its own: a writer that is stalled must not hold the lock
    // of the standard library's `Stderr`.
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let writer = LogWriter::start(file)?;
    let log = fmt::layer()
        .with_writer(writer.clone())
        .log_internal_errors(false);
    let is_event = filter_fn(|metadata| metadata.is_event());
    // The decoder of JPEG XL logs what is wrong with an image, which its sender is told.
    let levels = format!("jxl=off,{}", config.levels);
    let filter = EnvFilter::new(levels).and(is_event.with_max_level_hint(LevelFilter::TRACE));
    let log = match config.json {
        true => log.json().flatten_event(true).boxed(),
        false => {
            let colours = io::stderr().is_terminal();
            log.with_ansi(colours).with_target(false).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(log.with_filter(filter))
        .try_init()?;
    let _ = WRITER.set(writer);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Lines that were dropped because the reader of the log was too slow, or had
/// closed the pipe.
#[must_use]
pub fn dropped_lines() -> u64 {
    WRITER.get().map_or(0, LogWriter::dropped)
}

/// Waits a moment for the lines that are not written yet, before the process
/// ends.
pub fn finish() {
    if let Some(writer) = WRITER.get() {
        writer.flush_within(LAST_LINES);
    }
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
