//! The `resnet` binary.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use resnet_server::cli::Cli;

fn main() -> ExitCode {
    // The text of an error contains its causes.
    Cli::parse().run().unwrap_or_else(|error| {
        // a closed standard error is no reason to panic
        let _ = writeln!(std::io::stderr(), "Error: {error}");
        ExitCode::FAILURE
    })
}
