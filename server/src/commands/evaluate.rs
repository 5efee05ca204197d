//! `resnet evaluate`: a checkpoint's accuracy on labelled photos, the figure
//! on its model card checked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::Error;
use super::labelled::{self, Labelled};
use super::out;
use super::photos::Darkroom;
use crate::config::{Faults, LimitFlags, ModelFlags};
use crate::top_k::top_k;

/// The flags of `evaluate`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// A folder with a folder of photos for each class, named by wnid, label
    /// or index; or a CSV file of `photo,class` lines
    #[arg(long, value_name = "FOLDER_OR_CSV")]
    data: PathBuf,

    /// One JSON object a photo, then one for the whole
    #[arg(long)]
    json: bool,

    /// How many of the worst classes to tell
    #[arg(long, default_value = "5", value_name = "CLASSES")]
    worst: usize,

    #[command(flatten)]
    model: ModelFlags,

    #[command(flatten)]
    limits: LimitFlags,
}

/// One photo's line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a Path,
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A share of hits in percent with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Share {
    percent: f64,
    low: f64,
    high: f64,
}

/// The whole.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    images: usize,
    failed: usize,
    top1: Share,
    top5: Share,
    images_per_second: f64,
    worst: Vec<Class<'a>>,
}

/// A class and how often it was recognised.
#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    images: usize,
    top1_percent: f64,
}

/// Hits of a class, or of all.
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

/// Evaluates. Broken photos are counted and told, not fatal; the exit status
/// is 1 only when every one of them failed.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut faults = Faults::default();
    let model = flags.model.check(&mut faults);
    let limits = flags.limits.check(&mut faults);
    let (model, limits) = faults.none_or((model, limits))?;
    let darkroom = Darkroom::open(&model, &limits)?;
    let network = darkroom.classifier().network();
    let Labelled { photos, classes } = labelled::read(&flags.data, network.labels())?;

    let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
    let (mut failed, mut at, mut written) = (0, 0, Ok(()));
    let start = Instant::now();
    darkroom.classify(&photos, |file, answer, bar| {
        let class = classes[at];
        at += 1;
        let (top5, error) = match answer {
            Ok(row) => {
                let best: Vec<usize> = top_k(&row.logits, 5)
                    .iter()
                    .map(|score| score.index)
                    .collect();
                tallies.entry(class).or_default().add(class, &best);
                (Some(best), None)
            }
            Err(failure) => {
                failed += 1;
                (None, Some(failure.to_string()))
            }
        };
        if flags.json || error.is_some() {
            let wrote = bar.suspend(|| {
                tell(
                    flags.json,
                    &Line {
                        file,
                        class,
                        top5,
                        error,
                    },
                )
            });
            if let (Err(error), Ok(())) = (wrote, &written) {
                written = Err(error);
            }
        }
    })?;
    written?;
    let seconds = start.elapsed().as_secs_f64();
    let total = tallies.values().fold(Tally::default(), |a, b| Tally {
        images: a.images + b.images,
        top1: a.top1 + b.top1,
        top5: a.top5 + b.top5,
    });
    let report = Report {
        model: &network.card().name,
        images: total.images,
        failed,
        top1: share(total.top1, total.images),
        top5: share(total.top5, total.images),
        images_per_second: photos.len() as f64 / seconds,
        worst: worst(&tallies, flags.worst)
            .map(|(index, tally)| Class {
                index,
                label: network.labels().get(index).map_or("", |label| &label.name),
                images: tally.images,
                top1_percent: 100.0 * tally.top1 as f64 / tally.images as f64,
            })
            .collect(),
    };
    out::write(&flags.text(&report))?;
    Ok(if total.images > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
        let broken = if *failed == 0 {
            String::new()
        } else {
            format!(" ({failed} more could not be read)")
        };
        let mut text = format!(
            "{model} on {images} images{broken}, {images_per_second:.0} images/s\n\
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

fn tell(json: bool, line: &Line) -> io::Result<()> {
    if json {
        let text = serde_json::to_string(line)? + "\n";
        out::write(&text)
    } else {
        let error = line.error.as_deref().unwrap_or_default();
        writeln!(io::stderr().lock(), "{}: {error}", line.file.display())
    }
}

/// The classes that were recognised least, those with most images first among equals.
fn worst(tallies: &BTreeMap<usize, Tally>, count: usize) -> impl Iterator<Item = (usize, Tally)> {
    let mut classes: Vec<(usize, Tally)> = tallies
        .iter()
        .map(|(&class, &tally)| (class, tally))
        .collect();
    let rate = |tally: &Tally| tally.top1 as f64 / tally.images as f64;
    classes.sort_by(|(_, a), (_, b)| rate(a).total_cmp(&rate(b)).then(b.images.cmp(&a.images)));
    classes.into_iter().take(count)
}

/// `hits` of `images` with Wilson's interval (1927), which stays inside 0 to
/// 100 % for few images and for extreme shares.
fn share(hits: usize, images: usize) -> Share {
    if images == 0 {
        return Share {
            percent: 0.0,
            low: 0.0,
            high: 100.0,
        };
    }
    const Z: f64 = 1.959_964; // 97.5 % of the normal distribution lies below
    let (n, p) = (images as f64, hits as f64 / images as f64);
    let centre = p + Z * Z / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + Z * Z / n);
    Share {
        percent: 100.0 * p,
        low: (centre - reach) * scale,
        high: (centre + reach) * scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // 80 of 100: 71.11 to 86.66 by Wilson's formula
        let Share { percent, low, high } = share(80, 100);
        assert!((percent - 80.0).abs() < 1e-9);
        assert!((low - 71.11).abs() < 0.01, "{low}");
        assert!((high - 86.66).abs() < 0.01, "{high}");
        assert_eq!(share(10, 10).high.round(), 100.0);
    }

    #[test]
    fn the_worst_classes_come_first() {
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
