//! `resnet classify`: photos on the disk, a table for people or JSON lines for
//! programs. The same path as a request's, without HTTP.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Error;
use super::out;
use super::photos::{self, Darkroom, PhotoFailure};
use crate::answer::{Prediction, predictions};
use crate::batch::Row;
use crate::config::{Faults, LimitFlags, ModelFlags};

/// The flags of `classify`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Photos, or folders to search for them
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// How many classes to tell of each photo
    #[arg(short = 'k', long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,

    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelFlags,

    #[command(flatten)]
    limits: LimitFlags,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    predictions: Vec<Prediction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Classifies every photo. The exit status is 1 when any of them failed.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut faults = Faults::default();
    let model = flags.model.check(&mut faults);
    let limits = flags.limits.check(&mut faults);
    let (model, limits) = faults.none_or((model, limits))?;
    let photos = photos::find(&flags.paths)?;
    let darkroom = Darkroom::open(&model, &limits)?;
    let mut failed = 0;
    let mut written = Ok(());
    darkroom.classify(&photos, |path, answer, bar| {
        failed += usize::from(answer.is_err());
        let text = flags.text(path, answer, &darkroom);
        // the bar and the text share a terminal: it is lifted for the lines
        let wrote = bar.suspend(|| out::write(&text));
        if let (Err(error), Ok(())) = (wrote, &written) {
            written = Err(error);
        }
    })?;
    written?;
    if failed > 0 && !flags.json {
        writeln!(io::stderr(), "{failed} of {} images failed", photos.len())?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Flags {
    fn text(&self, path: &Path, answer: Result<Row, PhotoFailure>, darkroom: &Darkroom) -> String {
        let network = darkroom.classifier().network();
        let told =
            answer.map(|row| predictions(&row.logits, network.labels(), self.top_k as usize));
        if self.json {
            json(path, told)
        } else {
            table(path, told)
        }
    }
}

fn json(file: &Path, told: Result<Vec<Prediction>, PhotoFailure>) -> String {
    let (predictions, error) = match told {
        Ok(predictions) => (predictions, None),
        Err(failure) => (Vec::new(), Some(failure.to_string())),
    };
    let line = Line {
        file,
        predictions,
        error,
    };
    serde_json::to_string(&line).map_or_else(|e| e.to_string(), |line| line + "\n")
}

fn table(file: &Path, told: Result<Vec<Prediction>, PhotoFailure>) -> String {
    let mut text = format!("{}\n", file.display());
    match told {
        Ok(predictions) => {
            for p in predictions {
                let wnid = p.wnid.unwrap_or("");
                text += &format!(
                    "  {:6.2} %  {:<32} {wnid}\n",
                    100.0 * p.probability,
                    p.label
                );
            }
        }
        Err(failure) => text += &format!("  failed: {failure}\n"),
    }
    text
}
