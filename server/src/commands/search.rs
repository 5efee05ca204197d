//! `resnet search`: the images of an index that are most similar to a photo, by
//! the cosine of their embeddings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::commands::features::{Error, embed, read_index};
use crate::commands::output;
use crate::commands::pipeline::{LocalPipeline, PipelineFlags};
use crate::core::similarity::Vectors;

/// The flags of `search`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// The photo to search for
    photo: PathBuf,

    /// The index: the .npy file that `resnet embed` wrote with the same model
    #[arg(long, value_name = "FILE.npy")]
    index: PathBuf,

    /// Number of images to print
    #[arg(short = 'k', long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,

    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    row: usize,
    cosine: f32,
}

/// Prints the most similar images, best first.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let (model, limits) = flags.pipeline.check()?;
    let (matrix, names) = read_index(&flags.index)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let expected = pipeline.instance().network().info().embedding_size;
    if matrix.columns != expected {
        return Err(Error::Dimension {
            path: flags.index.clone(),
            found: matrix.columns,
            expected,
        });
    }
    let mut query = None;
    let photo = std::slice::from_ref(&flags.photo);
    embed(&pipeline, photo, false, |_, values| {
        query = Some(values);
        Ok(())
    })?;
    let query = query.ok_or(Error::NoEmbedding)?;
    for found in Vectors::new(matrix).nearest(&query, flags.top_k as usize) {
        let file = &names[found.row];
        let line = match flags.json {
            true => json(Line {
                file,
                row: found.row,
                cosine: found.cosine,
            }),
            false => format!("{:7.4}  {}\n", found.cosine, file.display()),
        };
        output::write(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json(line: Line) -> String {
    serde_json::to_string(&line).map_or_else(|e| e.to_string(), |line| line + "\n")
}
