//! `resnet evaluate`: measures the accuracy of a model on a labelled dataset.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use weights::Activation;

use crate::commands::dataset::{self, Dataset};
use crate::commands::error::Error;
use crate::commands::output;
use crate::commands::pipeline::{FileError, LocalPipeline};
use crate::config::limits::ImageFlags;
use crate::config::model::ModelFlags;
use crate::config::settings::Settings;
use crate::core::batch::ImageOutput;
use crate::core::network::Network;
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
    model: ModelFlags,

    #[command(flatten)]
    limits: ImageFlags,
}

/// The line of an image with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An accuracy in percent with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Accuracy {
    percent: f64,
    low: f64,
    high: f64,
}

/// The result for the whole dataset.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    images: usize,
    failed: usize,
    top1: Accuracy,
    top5: Accuracy,
    images_per_second: f64,
    worst: Vec<Class<'a>>,
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
    let model = flags.model.read(None, &mut settings);
    let limits = flags.limits.read(&mut settings);
    let (model, limits) = settings.errors.none_or((model, limits))?;
    let pipeline = LocalPipeline::open(&model, &limits)?;
    let network = pipeline.instance().network();
    let Dataset { images, classes } = dataset::read(&flags.data, network.labels())?;

    let mut evaluation = Evaluation::default();
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
    let report = evaluation.report(network, flags.worst, rate);
    output::write(&flags.text(&report))?;
    Ok(if report.images > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The results so far.
#[derive(Default)]
struct Evaluation {
    tallies: BTreeMap<usize, Tally>,
    failed: usize,
}

impl Evaluation {
    /// Counts the result of an image, and returns its line.
    fn add<'a>(
        &mut self,
        file: &'a Path,
        class: usize,
        result: Result<ImageOutput, FileError>,
    ) -> Line<'a> {
        let top5 = result.map(|row| {
            // the order is the same for every activation
            let scores = top_k(&row.logits, Activation::None, 5);
            scores.iter().map(|score| score.index).collect::<Vec<_>>()
        });
        match &top5 {
            Ok(best) => self.tallies.entry(class).or_default().add(class, best),
            Err(_) => self.failed += 1,
        }
        let (top5, error) = match top5 {
            Ok(best) => (Some(best), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Line {
            file,
            class,
            top5,
            error,
        }
    }

    /// The accuracies, with those of the `count` worst classes.
    fn report<'a>(&self, network: &'a dyn Network, count: usize, rate: f64) -> Report<'a> {
        let sum = |value: fn(&Tally) -> usize| self.tallies.values().map(value).sum::<usize>();
        let images = sum(|tally| tally.images);
        let class = |(index, tally): (usize, Tally)| Class {
            index,
            label: network.labels().get(index).map_or("", |label| &label.name),
            images: tally.images,
            top1_percent: 100.0 * tally.top1 as f64 / tally.images as f64,
        };
        Report {
            model: &network.info().name,
            images,
            failed: self.failed,
            top1: accuracy(sum(|tally| tally.top1), images),
            top5: accuracy(sum(|tally| tally.top5), images),
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
        let Report {
            model,
            images,
            failed,
            top1,
            top5,
            images_per_second,
            worst,
        } = report;
        let unreadable = if *failed == 0 {
            String::new()
        } else {
            format!(" ({failed} more could not be read)")
        };
        let mut text = format!(
            "{model} on {images} images{unreadable}, {images_per_second:.0} images/s\n\
             top-1  {:6.2} %  (95 %: {:.2} to {:.2})\n\
             top-5  {:6.2} %  (95 %: {:.2} to {:.2})\n",
            top1.percent, top1.low, top1.high, top5.percent, top5.low, top5.high
        );
        for Class {
            label,
            images,
            top1_percent,
            ..
        } in worst
        {
            text += &format!("worst  {top1_percent:6.2} %  {label} ({images} images)\n");
        }
        text
    }
}

fn print_line(json: bool, line: &Line) -> io::Result<()> {
    if json {
        let text = serde_json::to_string(line)? + "\n";
        output::write(&text)
    } else {
        let error = line.error.as_deref().unwrap_or_default();
        writeln!(io::stderr().lock(), "{}: {error}", line.file.display())
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

/// The accuracy with Wilson's score interval (1927), which stays between 0 and
/// 100 % for few images and for extreme accuracies.
fn accuracy(correct: usize, images: usize) -> Accuracy {
    if images == 0 {
        return Accuracy {
            percent: 0.0,
            low: 0.0,
            high: 100.0,
        };
    }
    const Z: f64 = 1.959_964; // the 97.5 % quantile of the normal distribution
    let (n, p) = (images as f64, correct as f64 / images as f64);
    let centre = p + Z * Z / (2.0 * n);
    let margin = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + Z * Z / n);
    Accuracy {
        percent: 100.0 * p,
        low: (centre - margin) * scale,
        high: (centre + margin) * scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_confidence_interval_is_wilsons() {
        // 80 of 100: 71.11 to 86.66 by Wilson's formula
        let Accuracy { percent, low, high } = accuracy(80, 100);
        assert!((percent - 80.0).abs() < 1e-9);
        assert!((low - 71.11).abs() < 0.01, "{low}");
        assert!((high - 86.66).abs() < 0.01, "{high}");
        assert_eq!(accuracy(10, 10).high.round(), 100.0);
    }

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
