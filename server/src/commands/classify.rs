//! `resnet classify`: classifies image files and prints a table or JSON lines.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::commands::error::Error;
use crate::commands::images;
use crate::commands::output;
use crate::commands::pipeline::{FileError, LocalPipeline};
use crate::config::answers::{AnswerFlags, fraction};
use crate::config::limits::ImageFlags;
use crate::config::model::ModelFlags;
use crate::config::settings::Settings;
use crate::core::answer::{Answer, AnswerOptions, Prediction, Selection};
use crate::core::batch::ImageOutput;

/// The flags of `classify`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, or folders that are searched for images
    #[arg(required = true, value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// Number of classes to print for each image
    #[arg(short = 'k', long, default_value = "5")]
    top_k: u32,

    /// Lowest probability of a class to print, from 0 to 1
    #[arg(long, default_value = "0", value_name = "PROBABILITY", value_parser = fraction)]
    threshold: f64,

    /// Print only classes with these names or WordNet ids, or below categories
    /// with them, such as dog; separated by commas, or repeated
    #[arg(long, value_name = "NAMES")]
    only: Vec<String>,

    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    answers: AnswerFlags,

    #[command(flatten)]
    model: ModelFlags,

    #[command(flatten)]
    limits: ImageFlags,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
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
    let options = AnswerOptions {
        top_k: flags.top_k as usize,
        threshold: flags.threshold,
        min_confidence: flags.answers.read(&mut settings),
    };
    let (model, limits) = settings.errors.none_or((model, limits))?;
    let found = images::find(&flags.paths)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let instance = pipeline.instance();
    let interpretation = instance.interpretation();
    let selection = Selection::find(&flags.only, instance.categories())?;
    let mut failed = 0;
    let mut written = Ok(());
    pipeline.classify(&found.files, |path, result, bar| {
        failed += usize::from(result.is_err());
        let answer =
            |row: ImageOutput| interpretation.answer(&row.logits, selection.as_ref(), options);
        let text = flags.text(path, result.map(answer));
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
    fn text(&self, path: &Path, answer: Result<Answer, FileError>) -> String {
        if self.json {
            json(path, answer)
        } else {
            table(path, answer)
        }
    }
}

fn json(file: &Path, answer: Result<Answer, FileError>) -> String {
    let (answer, error) = match answer {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let line = Line {
        file,
        answer,
        error,
    };
    serde_json::to_string(&line).map_or_else(|e| e.to_string(), |line| line + "\n")
}

fn table(file: &Path, answer: Result<Answer, FileError>) -> String {
    let mut text = format!("{}\n", file.display());
    match answer {
        Ok(answer) => {
            answer.predictions.iter().for_each(|p| text += &row(p));
            for label in answer.labels.iter().flatten() {
                let percent = 100.0 * label.probability;
                text += &format!("  {percent:6.2} %  is {}\n", label.name);
            }
            if let Some(Some(category)) = answer.category {
                let percent = 100.0 * category.probability;
                text += &format!("  {percent:6.2} %  category: {}\n", category.name);
            }
        }
        Err(error) => text += &format!("  failed: {error}\n"),
    }
    text
}

fn row(prediction: &Prediction) -> String {
    let value = match (prediction.probability, prediction.value) {
        (Some(probability), _) => format!("{:6.2} %", 100.0 * probability),
        (None, value) => format!("{:8.4}", value.unwrap_or_default()),
    };
    let wnid = prediction.wnid.unwrap_or("");
    format!("  {value}  {:<32} {wnid}\n", prediction.label)
}
