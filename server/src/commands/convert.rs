//! `resnet convert`: writes a checkpoint of any format as one safetensors file
//! that contains architecture, preprocessing and labels.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weights::{Hierarchy, Label, Labels, Metadata, StoredDtype, Target};

use crate::commands::error::Error;
use crate::commands::load::open;
use crate::commands::output;
use crate::commands::write::write;

/// The flags of `convert`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Checkpoint to convert: a source as for --model of the other commands
    #[arg(value_name = "IN")]
    from: String,

    /// File to write
    #[arg(value_name = "OUT.safetensors")]
    to: PathBuf,

    /// Data type of the convolutions and the classifier in the new file, f16 or
    /// bf16, which halves its size [default: that of the checkpoint]
    #[arg(long, value_parser = half_precision)]
    dtype: Option<StoredDtype>,

    /// File with the class names to store in the new file
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// File with the categories above the classes to store in the new file: a line
    /// `id<TAB>name<TAB>parents` for each category and each class
    #[arg(long, value_name = "FILE")]
    hierarchy: Option<PathBuf>,

    /// Replace OUT.safetensors if it exists
    #[arg(long)]
    force: bool,
}

fn half_precision(text: &str) -> Result<StoredDtype, &'static str> {
    match text {
        "f16" => Ok(StoredDtype::F16),
        "bf16" => Ok(StoredDtype::Bf16),
        _ => Err("must be f16 or bf16"),
    }
}

/// Converts a checkpoint.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let target = Target {
        path: &flags.to,
        replace: flags.force,
    };
    target.check()?;
    let checkpoint = open(&flags.from)?;
    let mut metadata = model::complete_metadata(&checkpoint)?;
    if let Some(file) = &flags.labels {
        let classes = metadata.labels.as_ref().map_or(0, Labels::len);
        metadata.labels = Some(Labels::from_file(file)?.expect(classes)?);
    }
    if let Some(file) = &flags.hierarchy {
        metadata.hierarchy = Some(hierarchy(file, &metadata)?);
    }
    // an 8-bit network becomes one of floats
    if flags.dtype.is_some() {
        metadata.ranges = None;
    }
    let dtype = flags.dtype.unwrap_or(StoredDtype::Kept);
    write(&checkpoint, &metadata, dtype, &target, "")
}

/// The hierarchy in a file. Classes without a line are reported; it must have one for
/// some of them.
fn hierarchy(file: &Path, metadata: &Metadata) -> Result<Hierarchy, Error> {
    let hierarchy = Hierarchy::from_file(file)?;
    let Some(labels) = &metadata.labels else {
        return Ok(hierarchy);
    };
    let absent: Vec<&Label> = hierarchy.without_line(labels).collect();
    if let Some(first) = absent.first() {
        let text = format!(
            "{} of the {} classes have no line in {}, such as `{}`; the id of a class is its WordNet id, or its name if it has none",
            absent.len(),
            labels.len(),
            file.display(),
            first.wnid.as_ref().unwrap_or(&first.name),
        );
        if absent.len() == labels.len() {
            return Err(Error::Hierarchy(text));
        }
        output::warn(format_args!("{text}"));
    }
    Ok(hierarchy)
}
