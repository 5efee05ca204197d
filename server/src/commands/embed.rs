//! `resnet embed`: writes the embeddings of image files to a `.npy` file, and
//! their names to a CSV file beside it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::commands::features::{Error, IndexWriter, embed, names_path};
use crate::commands::images;
use crate::commands::output::{self, print_line};
use crate::commands::pipeline::{LocalPipeline, PipelineFlags};

/// The flags of `embed`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, or folders that are searched for images
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// The file to write: a NumPy array [N, C] of 32-bit floats. The file with the
    /// extension csv beside it lists the image of each row
    #[arg(short, long, value_name = "FILE.npy")]
    output: PathBuf,

    /// Divide each embedding by its L2 norm
    #[arg(long)]
    normalize: bool,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

/// Embeds every image. The exit status is 1 if an image or a folder could not be
/// read.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let (model, limits) = flags.pipeline.check()?;
    let found = images::find(&flags.paths)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let size = pipeline.instance().network().info().embedding_size;
    let mut index = IndexWriter::create(&flags.output, size)?;
    let failed = embed(&pipeline, &found.files, flags.normalize, |file, values| {
        index.append(file, &values)
    })?;
    let rows = index.finish()?;
    print_line!(
        "{} written: {rows} embeddings of {size} values; {} lists their images",
        flags.output.display(),
        names_path(&flags.output).display()
    )?;
    Ok(output::exit_status(failed + found.unreadable == 0))
}
