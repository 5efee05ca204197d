//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, classify, convert, evaluate, healthcheck, inspect, models, quantize, serve,
};
use crate::config::ServeFlags;

/// Image classification with ResNet: a photo in, the right top-5 out.
///
/// Without a command it serves: `resnet` is `resnet serve`.
#[derive(Debug, Parser)]
#[command(name = "resnet", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeFlags,
}

const EXAMPLES: &str = "\
Examples:
  resnet                                                      serve on port 8000
  curl --data-binary @cat.jpg localhost:8000/classify         classify a photo
  RESNET_QUEUE=512 resnet serve --host 0.0.0.0 --port 80      every flag has a variable
";

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer HTTP requests (the default)
    Serve(Box<ServeFlags>),
    /// Classify photos on the disk
    Classify(classify::Flags),
    /// Measure a model's accuracy on labelled photos
    Evaluate(evaluate::Flags),
    /// Time forward passes
    Bench(bench::Flags),
    /// Write any checkpoint as one safetensors file with all that belongs to it
    Convert(convert::Flags),
    /// Write any checkpoint as 8-bit integers, calibrated on photos
    Quantize(quantize::Flags),
    /// List every architecture of the family
    Models(models::Flags),
    /// Show a model's layers and what it costs
    Inspect(inspect::Flags),
    /// Ask a running server whether it is ready; exit status 0 if it is
    Healthcheck(healthcheck::Flags),
}

/// Why a command failed.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever ended the command early.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.command.unwrap_or(Command::Serve(Box::new(self.serve))) {
            Command::Serve(flags) => Ok(serve::run(&flags)?),
            Command::Classify(flags) => Ok(classify::run(&flags)?),
            Command::Evaluate(flags) => Ok(evaluate::run(&flags)?),
            Command::Bench(flags) => Ok(bench::run(&flags)?),
            Command::Convert(flags) => Ok(convert::run(&flags)?),
            Command::Quantize(flags) => Ok(quantize::run(&flags)?),
            Command::Models(flags) => Ok(models::run(&flags)?),
            Command::Inspect(flags) => Ok(inspect::run(&flags)?),
            Command::Healthcheck(flags) => Ok(healthcheck::run(&flags)?),
        }
    }
}
