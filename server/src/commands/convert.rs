//! `resnet convert`: any checkpoint to one safetensors file that carries its
//! architecture, preprocessing and labels.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use weights::{Labels, Numbers};

use super::Error;
use super::written::write;
use crate::config;

/// The flags of `convert`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// What to convert: as --model of the other commands
    #[arg(value_name = "IN")]
    from: String,

    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    to: PathBuf,

    /// Halve the file: convolutions and the classifier in this type
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Type>,

    /// The classes' names, to be carried along
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// A half-size number type.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Type {
    F16,
    Bf16,
}

/// Converts.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let checkpoint = config::open(&flags.from)?;
    let mut facts = model::complete_facts(&checkpoint)?;
    if let Some(file) = &flags.labels {
        let classes = facts.labels.as_ref().map_or(0, Labels::len);
        facts.labels = Some(Labels::from_file(file)?.expect(classes)?);
    }
    let numbers = match flags.dtype {
        None => Numbers::Kept,
        Some(Type::F16) => Numbers::F16,
        Some(Type::Bf16) => Numbers::Bf16,
    };
    write(&checkpoint, &facts, numbers, &flags.to, "")
}
