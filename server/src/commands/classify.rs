//! `resnet classify`: classifies image files and prints a table or JSON lines.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weights::Activation;

use crate::commands::error::Error;
use crate::commands::images;
use crate::commands::output;
use crate::commands::pipeline::{FileError, LocalPipeline};
use crate::config::limits::ImageFlags;
use crate::config::model::ModelFlags;
use crate::config::settings::Settings;
use crate::core::batch::ImageOutput;
use crate::core::prediction::{Prediction, predictions};

/// The flags of `classify`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, or folders that are searched for images
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// Number of classes to print for each image
    #[arg(short = 'k', long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,

    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelFlags,

    #[command(flatten)]
    limits: ImageFlags,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    predictions: Vec<Prediction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Classifies every image. The exit status is 1 if an image could not be
/// classified or a folder could not be read.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut settings = Settings::default();
    let model = flags.model.read(None, &mut settings);
    let limits = flags.limits.read(&mut settings);
    let (model, limits) = settings.errors.none_or((model, limits))?;
    let found = images::find(&flags.paths)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let mut failed = 0;
    let mut written = Ok(());
    pipeline.classify(&found.files, |path, result, bar| {
        failed += usize::from(result.is_err());
        let text = flags.text(path, result, &pipeline);
        // the progress bar is hidden while lines are printed to the same terminal
        let wrote = bar.suspend(|| output::write(&text));
        if let (Err(error), Ok(())) = (wrote, &written) {
            written = Err(error);
        }
    })?;
    written?;
    if failed > 0 && !flags.json {
        writeln!(
            io::stderr(),
            "{failed} of {} images failed",
            found.files.len()
        )?;
    }
    Ok(if failed + found.unreadable == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Flags {
    fn text(
        &self,
        path: &Path,
        result: Result<ImageOutput, FileError>,
        pipeline: &LocalPipeline,
    ) -> String {
        let network = pipeline.instance().network();
        let (activation, k) = (network.activation(), self.top_k as usize);
        let result = result.map(|row| predictions(&row.logits, network.labels(), activation, k));
        if self.json {
            json(path, activation, result)
        } else {
            table(path, result)
        }
    }
}

fn json(file: &Path, activation: Activation, result: Result<Vec<Prediction>, FileError>) -> String {
    let activation = result.is_ok().then_some(activation);
    let (predictions, error) = match result {
        Ok(predictions) => (predictions, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let line = Line {
        file,
        activation,
        predictions,
        error,
    };
    serde_json::to_string(&line).map_or_else(|e| e.to_string(), |line| line + "\n")
}

fn table(file: &Path, result: Result<Vec<Prediction>, FileError>) -> String {
    let mut text = format!("{}\n", file.display());
    match result {
        Ok(predictions) => {
            for p in predictions {
                let wnid = p.wnid.unwrap_or("");
                let value = match (p.probability, p.value) {
                    (Some(probability), _) => format!("{:6.2} %", 100.0 * probability),
                    (None, value) => format!("{:8.4}", value.unwrap_or_default()),
                };
                text += &format!("  {value}  {:<32} {wnid}\n", p.label);
            }
        }
        Err(error) => text += &format!("  failed: {error}\n"),
    }
    text
}
