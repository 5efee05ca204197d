//! `resnet completions`: prints the script with which a shell completes the commands
//! and the flags of `resnet`.

use std::io;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

use crate::commands::output;

/// The flags of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// The shell that will read the script
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for `command`, the whole command line.
///
/// # Errors
/// When the output cannot be written.
pub fn run(flags: &Flags, mut command: Command) -> io::Result<ExitCode> {
    let mut script = Vec::new();
    generate(flags.shell, &mut command, "resnet", &mut script);
    output::write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
