//! The `resnet` binary.

use std::process::ExitCode;

use clap::Parser;
use resnet_server::cli::Cli;

fn main() -> anyhow::Result<ExitCode> {
    Cli::parse().run().map_err(anyhow::Error::from_boxed)
}
