//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{
    bench, calibrate, classify, completions, convert, duplicates, embed, evaluate, explain,
    healthcheck, inspect, key, man, models, quantize, search, serve,
};
use crate::config::serve::ServeFlags;

/// Image classification with ResNet models: an HTTP server and command-line tools.
///
/// Without a command, `resnet` runs `resnet serve`.
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
  curl --data-binary @cat.jpg localhost:8000/classify         classify an image
  RESNET_PORT=80 resnet serve --host 0.0.0.0                  every flag has an environment variable
  resnet serve --model cats=./cats.safetensors --models ./repository --config resnet.toml
                                                              serve several models
";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve models over HTTP (the default)
    Serve(Box<ServeFlags>),
    /// Classify image files
    Classify(classify::Flags),
    /// Draw what the model looks at on image files
    Explain(explain::Flags),
    /// Write the embeddings of image files
    Embed(embed::Flags),
    /// Find the images of an index that are most similar to a photo
    Search(search::Flags),
    /// Find images that are nearly the same
    Duplicates(duplicates::Flags),
    /// Measure the accuracy of a model on a labelled dataset
    Evaluate(evaluate::Flags),
    /// Measure the time of forward passes
    Bench(bench::Flags),
    /// Convert a checkpoint to one safetensors file with its labels and preprocessing
    Convert(convert::Flags),
    /// Quantize a checkpoint to 8-bit integers, calibrated on images
    Quantize(quantize::Flags),
    /// Fit the temperature of a model, so that its probabilities agree with its accuracy
    Calibrate(calibrate::Flags),
    /// List the supported architectures
    Models(models::Flags),
    /// Print the layers, operations and memory of a model
    Inspect(inspect::Flags),
    /// Make an API key for `serve --api-keys`
    Key(key::Flags),
    /// Check whether a running server is ready; the exit status is 0 if it is
    Healthcheck(healthcheck::Flags),
    /// Print the completions of a shell
    Completions(completions::Flags),
    /// Print the manual page, or write those of all commands
    Man(man::Flags),
}

/// The error of any command.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// The error that stopped the command.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.command.unwrap_or(Command::Serve(Box::new(self.serve))) {
            Command::Serve(flags) => Ok(serve::run(&flags)?),
            Command::Classify(flags) => Ok(classify::run(&flags)?),
            Command::Explain(flags) => Ok(explain::run(&flags)?),
            Command::Embed(flags) => Ok(embed::run(&flags)?),
            Command::Search(flags) => Ok(search::run(&flags)?),
            Command::Duplicates(flags) => Ok(duplicates::run(&flags)?),
            Command::Evaluate(flags) => Ok(evaluate::run(&flags)?),
            Command::Bench(flags) => Ok(bench::run(&flags)?),
            Command::Convert(flags) => Ok(convert::run(&flags)?),
            Command::Quantize(flags) => Ok(quantize::run(&flags)?),
            Command::Calibrate(flags) => Ok(calibrate::run(&flags)?),
            Command::Models(flags) => Ok(models::run(&flags)?),
            Command::Inspect(flags) => Ok(inspect::run(&flags)?),
            Command::Key(flags) => Ok(key::run(&flags)?),
            Command::Healthcheck(flags) => Ok(healthcheck::run(&flags)?),
            Command::Completions(flags) => Ok(completions::run(&flags, Self::command())?),
            Command::Man(flags) => Ok(man::run(&flags, Self::command())?),
        }
    }
}
