//! `resnet classify`: classifies image files and prints a table or JSON lines.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::commands::error::Error;
use crate::commands::images::{self, STDIN};
use crate::commands::output;
use crate::commands::pipeline::{LocalPipeline, PipelineFlags};
use crate::commands::result::Format;
use crate::config::answers::{AnswerFlags, fraction};
use crate::config::settings::Settings;
use crate::core::answer::{AnswerOptions, Selection};
use crate::core::batch::ImageOutput;

/// The flags of `classify`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Image files, folders that are searched for images, or - for an image on
    /// standard input
    #[arg(required_unless_present = "files_from", value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,

    /// File with more paths, one on each line or ended by NUL bytes; - is
    /// standard input
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,

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

    /// Output: a table, one JSON object per line, or CSV with a line for each
    /// class
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    #[command(flatten)]
    answers: AnswerFlags,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

/// Classifies every image. The exit status is 1 if an image could not be
/// classified or a folder could not be read.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut settings = Settings::default();
    let pipeline = flags.pipeline.read(&mut settings);
    let options = AnswerOptions {
        top_k: flags.top_k as usize,
        threshold: flags.threshold,
        min_confidence: flags.answers.read(&mut settings),
    };
    let (model, limits) = settings.errors.none_or(pipeline)?;
    let found = images::find(&flags.all_paths()?)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let instance = pipeline.instance();
    let interpretation = instance.interpretation();
    let selection = Selection::find(&flags.only, instance.categories())?;
    let mut failed = 0;
    let format = flags.format();
    let mut written = output::write(format.head());
    pipeline.classify(&found.files, |path, result, bar| {
        failed += usize::from(result.is_err());
        let answer =
            |row: ImageOutput| interpretation.answer(&row.logits, selection.as_ref(), options);
        let text = format.text(path, result.map(answer));
        // the progress bar is hidden while lines are printed to the same terminal
        let wrote = bar.suspend(|| output::write(&text));
        if let (Err(error), Ok(())) = (wrote, &written) {
            written = Err(error);
        }
    })?;
    written?;
    if failed > 0 && format == Format::Table {
        writeln!(
            io::stderr(),
            "{failed} of {} images failed",
            found.files.len()
        )?;
    }
    Ok(output::exit_status(failed + found.unreadable == 0))
}

impl Flags {
    fn format(&self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format,
        }
    }

    /// The given paths and those of the list.
    fn all_paths(&self) -> Result<Vec<PathBuf>, images::Error> {
        let mut paths = self.paths.clone();
        if let Some(list) = &self.files_from {
            if list.as_os_str() == STDIN && paths.iter().any(|path| path.as_os_str() == STDIN) {
                return Err(images::Error::StdinTwice);
            }
            paths.extend(images::read_list(list)?);
        }
        Ok(paths)
    }
}
