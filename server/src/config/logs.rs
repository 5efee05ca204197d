//! The settings of the log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::settings::Settings;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogFlags {
    /// Log level (error, warn, info, debug or trace), also by module:
    /// `info,resnet_server=debug` [default: info]
    #[arg(long, env = "RESNET_LOG", value_name = "LEVEL")]
    log: Option<String>,

    /// Log format: human, json, or auto for human on a terminal and json
    /// otherwise [default: auto]
    #[arg(long, env = "RESNET_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

/// What is logged, and in which format.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// Levels, in the syntax of `tracing`'s `EnvFilter`.
    pub levels: String,
    /// JSON lines instead of text for people.
    pub json: bool,
}

impl LogFlags {
    /// Reads both settings; invalid ones are added to the errors.
    pub fn read(&self, settings: &mut Settings) -> LogConfig {
        LogConfig {
            levels: settings.read("log", self.log.as_deref(), "info", |text| {
                EnvFilter::try_new(text).map(|_| text.to_owned())
            }),
            json: settings.read("log-format", self.log_format.as_deref(), "auto", json),
        }
    }
}

fn json(format: &str) -> Result<bool, &'static str> {
    match format {
        "auto" => Ok(!std::io::stderr().is_terminal()),
        "human" => Ok(false),
        "json" => Ok(true),
        _ => Err("must be human, json or auto"),
    }
}
