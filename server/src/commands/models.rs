//! `resnet models`: lists the architectures.

use std::io;
use std::process::ExitCode;

use model::build;
use model::family::FAMILY;
use serde::Serialize;

use crate::commands::output::print_line;

/// The flags of `models`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// One architecture.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    depth: usize,
    input: usize,
    classes: usize,
    parameters: u64,
    multiply_adds: u64,
}

/// Prints every architecture with its size.
///
/// # Errors
/// When the output cannot be written.
pub fn run(flags: &Flags) -> io::Result<ExitCode> {
    if !flags.json {
        print_line!(
            "{:<22} {:>6} {:>6} {:>8} {:>12} {:>10}",
            "name",
            "layers",
            "input",
            "classes",
            "parameters",
            "GMAC"
        )?;
    }
    for row in FAMILY.iter() {
        let graph = build::build(row, row.input, row.classes);
        let line = Line {
            name: row.name,
            depth: row.depth(),
            input: row.input,
            classes: row.classes,
            parameters: graph.trained_values(),
            multiply_adds: graph.multiply_adds(),
        };
        if flags.json {
            print_line!("{}", serde_json::to_string(&line).unwrap_or_default())?;
        } else {
            print_line!(
                "{:<22} {:>6} {:>6} {:>8} {:>10.2} M {:>10.2}",
                line.name,
                line.depth,
                line.input,
                line.classes,
                line.parameters as f64 / 1e6,
                line.multiply_adds as f64 / 1e9,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
