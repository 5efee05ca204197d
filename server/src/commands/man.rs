//! `resnet man`: the manual pages, made from the same definitions as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use crate::commands::output;

/// The flags of `man`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Command whose page is printed [default: the page of resnet itself]
    command: Option<String>,

    /// Write the pages of all commands into this folder instead
    #[arg(short, long, value_name = "FOLDER", conflicts_with = "command")]
    output: Option<PathBuf>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No command has this name.
    #[error("there is no command {name}; `resnet --help` lists the commands")]
    UnknownCommand {
        /// As it was given.
        name: String,
    },
    /// A page cannot be written.
    #[error("the pages cannot be written to {}: {source}", folder.display())]
    Folder {
        /// Where they would be.
        folder: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Prints a page of `command`, the whole command line, or writes all of them.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags, command: Command) -> Result<ExitCode, Error> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &flags.output {
        write_all(&command, folder).map_err(|source| Error::Folder {
            folder: folder.clone(),
            source,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = match &flags.command {
        None => page(&command),
        Some(name) => page(find(&command, name)?),
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    output::write(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn find<'a>(command: &'a Command, name: &str) -> Result<&'a Command, Error> {
    let found = command.find_subcommand(name);
    found.ok_or_else(|| Error::UnknownCommand {
        name: name.to_owned(),
    })
}

/// `resnet.1`, and `resnet-NAME.1` for each command.
fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    page(command).generate_to(folder)?;
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        page(part).generate_to(folder)?;
    }
    Ok(())
}

fn page(command: &Command) -> Man {
    // Only the whole command has a version.
    Man::new(command.clone())
        .source(concat!("resnet ", env!("CARGO_PKG_VERSION")))
        .manual("resnet")
}
