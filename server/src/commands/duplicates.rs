//! `resnet duplicates`: groups of images that are nearly the same, by the cosine
//! of their embeddings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::commands::features::{Error, embed};
use crate::commands::images;
use crate::commands::output;
use crate::commands::pipeline::{LocalPipeline, PipelineFlags};
use crate::core::npy::Matrix;
use crate::core::similarity::{Match, Vectors};

/// The flags of `duplicates`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, or folders that are searched for images
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// Smallest cosine of two images of a group, -1 to 1
    #[arg(long, default_value = "0.98", value_parser = cosine)]
    threshold: f32,

    /// Print one JSON object per group and line instead of a list
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

fn cosine(text: &str) -> Result<f32, String> {
    let cosine = text.parse().ok();
    let valid = cosine.filter(|cosine| (-1.0..=1.0).contains(cosine));
    valid.ok_or_else(|| "it must be a number of -1 to 1".into())
}

/// One line of `--json`.
#[derive(Serialize)]
struct Group<'a> {
    images: Vec<Image<'a>>,
}

/// An image, and its largest cosine with another image of its group.
#[derive(Serialize)]
struct Image<'a> {
    file: &'a Path,
    cosine: f32,
}

/// Prints the groups. The exit status is 1 if an image or a folder could not be
/// read.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let (model, limits) = flags.pipeline.check()?;
    let found = images::find(&flags.paths)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let columns = pipeline.instance().network().info().embedding_size;
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let failed = embed(&pipeline, &found.files, false, |file, embedding| {
        names.push(file.to_owned());
        values.extend(embedding);
        Ok(())
    })?;
    let vectors = Vectors::new(Matrix {
        rows: names.len(),
        columns,
        values,
    });
    for group in vectors.groups(flags.threshold) {
        let text = match flags.json {
            true => json(&group, &names),
            false => list(&group, &names),
        };
        output::write(&text)?;
    }
    Ok(output::exit_status(failed + found.unreadable == 0))
}

/// The files of a group with their cosines, and an empty line.
fn list(group: &[Match], names: &[PathBuf]) -> String {
    let line = |image: &Match| format!("{:7.4}  {}\n", image.cosine, names[image.row].display());
    group.iter().map(line).collect::<String>() + "\n"
}

fn json(group: &[Match], names: &[PathBuf]) -> String {
    let image = |image: &Match| Image {
        file: &names[image.row],
        cosine: image.cosine,
    };
    let group = Group {
        images: group.iter().map(image).collect(),
    };
    serde_json::to_string(&group).map_or_else(|e| e.to_string(), |line| line + "\n")
}
