//! `resnet evaluate`: measures the accuracy of a model on a labelled dataset.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use weights::Activation;

use crate::commands::accuracy::Accuracy;
use crate::commands::calibration::{self, Reliability};
use crate::commands::dataset::{self, Dataset};
use crate::commands::error::Error;
use crate::commands::hedging::{self, Hedging};
use crate::commands::output;
use crate::commands::pipeline::{FileError, LocalPipeline, PipelineFlags};
use crate::commands::result::FileName;
use crate::config::answers::AnswerFlags;
use crate::config::settings::Settings;
use crate::core::batch::ImageOutput;
use crate::core::instance::Instance;
use crate::core::top_k::top_k;

/// The flags of `evaluate`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Dataset: a folder with a folder of images for each class, named by
    /// WordNet ID, label or index, or a CSV file with lines `image,class`
    #[arg(long, value_name = "FOLDER_OR_CSV")]
    data: PathBuf,

    /// Print one JSON object for each image, then one for the whole dataset
    #[arg(long)]
    json: bool,

    /// Number of classes with the lowest accuracy to print
    #[arg(long, default_value = "5", value_name = "CLASSES")]
    worst: usize,

    #[command(flatten)]
    answers: AnswerFlags,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

/// The line of an image with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    file: FileName<'a>,
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The result for the whole dataset.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    images: usize,
    failed: usize,
    top1: Accuracy,
    top5: Accuracy,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<CalibrationReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<hedging::Figures>,
    images_per_second: f64,
    worst: Vec<Class<'a>>,
}

/// How well confidence and accuracy agree.
#[derive(Clone, Copy, Serialize)]
struct CalibrationReport {
    #[serde(flatten)]
    served: calibration::Figures,
    /// What the logits are divided by, if the checkpoint says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// The figures without this temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncalibrated: Option<calibration::Figures>,
}

/// A class and its accuracy.
#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    images: usize,
    top1_percent: f64,
}

/// Correct predictions for a class, or for all.
#[derive(Clone, Copy, Default)]
struct Tally {
    images: usize,
    top1: usize,
    top5: usize,
}

impl Tally {
    fn add(&mut self, class: usize, best: &[usize]) {
        self.images += 1;
        self.top1 += usize::from(best.first() == Some(&class));
        self.top5 += usize::from(best.contains(&class));
    }
}

/// Evaluates the model. Images that cannot be read are reported and counted; the
/// exit status is 1 only if there is no other image.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut settings = Settings::default();
    let pipeline = flags.pipeline.read(&mut settings);
    let min_confidence = flags.answers.read(&mut settings);
    let (model, limits) = settings.errors.none_or(pipeline)?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let instance = pipeline.instance();
    let network = instance.network();
    let Dataset { images, classes } = dataset::read(&flags.data, network.labels())?;

    let mut evaluation = Evaluation::new(instance, min_confidence);
    let mut classes = classes.into_iter();
    let mut written = Ok(());
    let start = Instant::now();
    pipeline.classify(&images, |file, result, bar| {
        // there is a class for each image
        let class = classes.next().unwrap_or_default();
        let line = evaluation.add(file, class, result);
        if flags.json || line.error.is_some() {
            let wrote = bar.suspend(|| print_line(flags.json, &line));
            if written.is_ok() {
                written = wrote;
            }
        }
    })?;
    written?;
    let rate = images.len() as f64 / start.elapsed().as_secs_f64();
    let report = evaluation.report(flags.worst, rate);
    output::write(&flags.text(&report))?;
    Ok(output::exit_status(report.images > 0))
}

/// The results so far.
struct Evaluation<'a> {
    instance: &'a Instance,
    min_confidence: f64,
    tallies: BTreeMap<usize, Tally>,
    served: Reliability,
    uncalibrated: Reliability,
    hedging: Hedging,
    failed: usize,
}

impl<'a> Evaluation<'a> {
    fn new(instance: &'a Instance, min_confidence: f64) -> Self {
        Self {
            instance,
            min_confidence,
            tallies: BTreeMap::new(),
            served: Reliability::new(instance.network().scale().temperature),
            uncalibrated: Reliability::new(1.0),
            hedging: Hedging::default(),
            failed: 0,
        }
    }

    /// Counts the result of an image, and returns its line.
    fn add<'b>(
        &mut self,
        file: &'b Path,
        class: usize,
        result: Result<ImageOutput, FileError>,
    ) -> Line<'b> {
        let (top5, error) = match result {
            Ok(row) => (Some(self.count(&row.logits, class)), None),
            Err(error) => {
                self.failed += 1;
                (None, Some(error.to_string()))
            }
        };
        Line {
            file: FileName::new(file),
            class,
            top5,
            error,
        }
    }

    /// Counts an image with these `logits` `[classes]`, and returns its best
    /// classes.
    fn count(&mut self, logits: &[f32], class: usize) -> Vec<usize> {
        let best = top_k(logits, 0..logits.len(), 5);
        self.tallies.entry(class).or_default().add(class, &best);
        let scale = self.instance.network().scale();
        if scale.activation == Activation::Softmax {
            self.served.add(logits, class);
            self.uncalibrated.add(logits, class);
            let categories = self.instance.categories();
            if categories.has_hierarchy() {
                let values = scale.values(logits);
                let category = categories.most_specific(&values, self.min_confidence);
                self.hedging.add(category.as_ref(), class, values.len());
            }
        }
        best
    }

    /// The accuracies, with those of the `count` worst classes.
    fn report(&self, count: usize, rate: f64) -> Report<'a> {
        let network = self.instance.network();
        let sum = |value: fn(&Tally) -> usize| self.tallies.values().map(value).sum::<usize>();
        let images = sum(|tally| tally.images);
        let class = |(index, tally): (usize, Tally)| Class {
            index,
            label: network.labels().get(index).map_or("", |label| &label.name),
            images: tally.images,
            top1_percent: 100.0 * tally.top1 as f64 / tally.images as f64,
        };
        let temperature = network.temperature();
        let calibration = || CalibrationReport {
            served: self.served.figures(),
            temperature,
            uncalibrated: temperature.map(|_| self.uncalibrated.figures()),
        };
        Report {
            model: &network.info().name,
            images,
            failed: self.failed,
            top1: Accuracy::of(sum(|tally| tally.top1), images),
            top5: Accuracy::of(sum(|tally| tally.top5), images),
            calibration: (network.activation() == Activation::Softmax).then(calibration),
            category: self.hedging.figures(self.min_confidence),
            images_per_second: rate,
            worst: worst(&self.tallies, count).map(class).collect(),
        }
    }
}

impl Flags {
    fn text(&self, report: &Report) -> String {
        if self.json {
            return serde_json::to_string(report)
                .map_or_else(|e| e.to_string(), |line| line + "\n");
        }
        let unreadable = match report.failed {
            0 => String::new(),
            failed => format!(" ({failed} more could not be read)"),
        };
        let mut text = format!(
            "{} on {} images{unreadable}, {:.0} images/s\n",
            report.model, report.images, report.images_per_second
        );
        for (name, share) in [("top-1", report.top1), ("top-5", report.top5)] {
            text += &format!("{name}  {}\n", interval(&share));
        }
        report
            .calibration
            .iter()
            .for_each(|c| text += &calibrated(c));
        report.category.iter().for_each(|c| text += &hedged(c));
        for class in &report.worst {
            let Class { label, images, .. } = class;
            let percent = class.top1_percent;
            text += &format!("worst  {percent:6.2} %  {label} ({images} images)\n");
        }
        text
    }
}

fn interval(Accuracy { percent, low, high }: &Accuracy) -> String {
    format!("{percent:6.2} %  (95 %: {low:.2} to {high:.2})")
}

/// The line of the calibration, with a second one for the figures without the
/// temperature.
fn calibrated(report: &CalibrationReport) -> String {
    let line = |figures: calibration::Figures, when: &str| {
        let (percent, nll) = (100.0 * figures.ece, figures.nll);
        format!("ECE    {percent:6.2} %  NLL {nll:.4}{when}\n")
    };
    match (report.temperature, report.uncalibrated) {
        (Some(temperature), Some(before)) => {
            let after = format!(" at the temperature {temperature:.4} of the checkpoint");
            line(before, " at temperature 1") + &line(report.served, &after)
        }
        _ => line(report.served, ""),
    }
}

fn hedged(figures: &hedging::Figures) -> String {
    let hedging::Figures {
        min_confidence,
        without,
        right,
        classes_percent,
        bits,
    } = figures;
    format!(
        "category at {min_confidence}: {} right, {classes_percent:.0} % are classes, {bits:.2} bits \
         on average, {without} images without\n",
        interval(right)
    )
}

fn print_line(json: bool, line: &Line) -> io::Result<()> {
    if json {
        let text = serde_json::to_string(line)? + "\n";
        output::write(&text)
    } else {
        let error = line.error.as_deref().unwrap_or_default();
        writeln!(io::stderr().lock(), "{}: {error}", line.file.name())
    }
}

/// The classes with the lowest accuracy; of equal ones, those with most images
/// come first.
fn worst(tallies: &BTreeMap<usize, Tally>, count: usize) -> impl Iterator<Item = (usize, Tally)> {
    let mut classes: Vec<(usize, Tally)> = tallies
        .iter()
        .map(|(&class, &tally)| (class, tally))
        .collect();
    let rate = |tally: &Tally| tally.top1 as f64 / tally.images as f64;
    classes.sort_by(|(_, a), (_, b)| rate(a).total_cmp(&rate(b)).then(b.images.cmp(&a.images)));
    classes.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_with_the_lowest_accuracy_come_first() {
        let tally = |images, top1| Tally {
            images,
            top1,
            top5: top1,
        };
        let tallies = [
            (3, tally(4, 4)),
            (5, tally(4, 1)),
            (7, tally(2, 0)),
            (8, tally(9, 0)),
        ];
        let found: Vec<usize> = worst(&tallies.into_iter().collect(), 3)
            .map(|(class, _)| class)
            .collect();
        assert_eq!(found, [8, 7, 5]);
    }
}
