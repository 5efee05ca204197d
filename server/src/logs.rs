//! The log: for people on a terminal, JSON lines anywhere else.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::Faults;

/// The flags as text.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogFlags {
    /// Level (error, warn, info, debug, trace), also by module: `info,server=debug`
    #[arg(long, env = "RESNET_LOG", value_name = "LEVEL", default_value = "info")]
    log: String,

    /// human, json, or auto: human on a terminal, json anywhere else
    #[arg(
        long,
        env = "RESNET_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto"
    )]
    log_format: String,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// Levels, in `tracing`'s syntax.
    pub levels: String,
    /// JSON lines instead of text for people.
    pub json: bool,
}

impl LogFlags {
    /// Reads both flags, adding to `faults` what is wrong.
    pub fn check(&self, faults: &mut Faults) -> LogConfig {
        LogConfig {
            levels: faults.read("--log", &self.log, |text| {
                EnvFilter::try_new(text).map(|_| text.to_owned())
            }),
            json: faults.read("--log-format", &self.log_format, |text| match text {
                "auto" => Ok(!std::io::stderr().is_terminal()),
                "human" => Ok(false),
                "json" => Ok(true),
                _ => Err("not human, json or auto"),
            }),
        }
    }
}

/// Starts the log on standard error, and sends panics there.
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

/// A panic ends one request, not the process: it is an error in the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, "panic");
}
