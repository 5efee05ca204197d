//! `resnet calibrate`: fits the temperature of a model on labelled images and
//! writes a checkpoint that contains it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weights::{Activation, StoredDtype, Target};

use crate::commands::calibration::{Figures, Reliability, fit};
use crate::commands::dataset::{self, Dataset};
use crate::commands::error::Error;
use crate::commands::load::open;
use crate::commands::output::{self, print_line};
use crate::commands::pipeline::{LocalPipeline, PipelineFlags};
use crate::commands::write::write;

/// The flags of `calibrate`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Labelled images that the model was not trained on, a thousand or more: a
    /// folder with a folder of images for each class, named by WordNet ID, label
    /// or index, or a CSV file with lines `image,class`
    #[arg(long, value_name = "FOLDER_OR_CSV")]
    data: PathBuf,

    /// File to write
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,

    /// Replace OUT.safetensors if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    pipeline: PipelineFlags,
}

/// Images with their classes, as the fit needs them.
type Labelled = Vec<(Vec<f32>, usize)>;

/// Fits the temperature.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let target = Target {
        path: &flags.output,
        replace: flags.force,
    };
    target.check()?;
    let (config, limits) = flags.pipeline.check()?;
    let pipeline = LocalPipeline::open(&config, &limits)?;
    let network = pipeline.instance().network();
    let activation = network.activation();
    if activation != Activation::Softmax {
        return Err(Error::NotSoftmax { activation });
    }
    let images = logits(&pipeline, dataset::read(&flags.data, network.labels())?)?;
    let temperature = (fit(&images)? * 1e4).round() / 1e4;
    print_line!(
        "temperature {temperature:.4}, fitted on {} images",
        images.len()
    )?;
    for (when, temperature) in [("before", 1.0), ("after", temperature)] {
        let Figures { ece, nll } = figures(&images, temperature);
        print_line!(
            "{when:<7} calibration error {:5.2} %, negative log-likelihood {nll:.4}",
            100.0 * ece
        )?;
    }

    let checkpoint = open(&config.source)?;
    let mut metadata = model::complete_metadata(&checkpoint)?;
    metadata.labels = Some(network.labels().clone());
    metadata.temperature = Some(temperature);
    let stored = match metadata.ranges {
        Some(_) => StoredDtype::Int8,
        None => StoredDtype::Kept,
    };
    let details = format!(" with temperature {temperature:.4}");
    write(&checkpoint, &metadata, stored, &target, &details)
}

/// The logits and the class of every image that can be read.
fn logits(pipeline: &LocalPipeline, dataset: Dataset) -> Result<Labelled, Error> {
    let mut labelled = Vec::with_capacity(dataset.images.len());
    let mut classes = dataset.classes.into_iter();
    let mut last = None;
    pipeline.classify(&dataset.images, |path, result, bar| {
        // there is a class for each image
        let class = classes.next().unwrap_or_default();
        match result {
            Ok(row) => labelled.push((row.logits, class)),
            Err(reason) => {
                let path = path.to_owned();
                bar.suspend(|| {
                    output::warn(format_args!("{} is skipped: {reason}", path.display()));
                });
                last = Some((path, reason.to_string()));
            }
        }
    })?;
    match last {
        Some((path, reason)) if labelled.is_empty() => Err(Error::AllUnreadable {
            count: dataset.images.len(),
            path,
            reason,
        }),
        _ => Ok(labelled),
    }
}

fn figures(images: &Labelled, temperature: f64) -> Figures {
    let mut reliability = Reliability::new(temperature);
    for (logits, class) in images {
        reliability.add(logits, *class);
    }
    reliability.figures()
}
