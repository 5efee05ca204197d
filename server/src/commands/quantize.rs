//! `resnet quantize`: writes a checkpoint with 8-bit integer weights, calibrated
//! on images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use model::{Calibration, Input, ThreadPool};
use weights::{StoredDtype, Target};

use crate::commands::error::Error;
use crate::commands::images;
use crate::commands::load::open;
use crate::commands::output;
use crate::commands::write::write;
use crate::config::model::ModelConfig;

/// The flags of `quantize`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Checkpoint to quantize: a source as for --model of the other commands
    #[arg(value_name = "IN")]
    from: String,

    /// File to write
    #[arg(value_name = "OUT.safetensors")]
    to: PathBuf,

    /// Folder with images similar to those that will be classified; labels are
    /// not needed
    #[arg(long, value_name = "FOLDER")]
    calibrate: PathBuf,

    /// Number of images to use, spread evenly over the folder
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,

    /// Threads for inference; auto for as many as the CPU quota and the affinity
    /// mask allow
    #[arg(long, env = "RESNET_THREADS", default_value = "auto")]
    threads: String,

    /// Replace OUT.safetensors if it exists
    #[arg(long)]
    force: bool,
}

/// Quantizes a checkpoint.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let target = Target {
        path: &flags.to,
        replace: flags.force,
    };
    target.check()?;
    let config = ModelConfig::for_calibration(&flags.from, &flags.threads)?;
    let paths = images::find(std::slice::from_ref(&flags.calibrate))?.files;
    let checkpoint = open(&flags.from)?;
    let pool = ThreadPool::new(config.run.threads)?;
    let mut calibration = Calibration::new(&checkpoint, &pool)?;
    let count = calibrate(&mut calibration, &spread(paths, flags.images as usize))?;

    let mut metadata = model::complete_metadata(&checkpoint)?;
    metadata.ranges = Some(calibration.ranges());
    let corrections = calibration.corrections(&checkpoint)?;
    let corrected = checkpoint.with_values(corrections)?;
    let details = format!(" in int8, calibrated on {count} images");
    write(&corrected, &metadata, StoredDtype::Int8, &target, &details)
}

/// `count` of the paths, spread evenly.
fn spread(paths: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    let all = paths.len();
    let count = count.min(all);
    (0..count).map(|i| paths[i * all / count].clone()).collect()
}

/// Runs the network on the images in f32. Returns the number of images that could
/// be read.
fn calibrate(calibration: &mut Calibration, paths: &[PathBuf]) -> Result<usize, Error> {
    let (mut count, mut last_reason) = (0, String::new());
    let bar = output::progress_bar(paths.len());
    for path in paths {
        let bytes = std::fs::read(path).map_err(|e| e.to_string());
        let limits = preprocess::Limits::default();
        let pixels = bytes.and_then(|bytes| {
            preprocess::read(&bytes, calibration.preprocessing(), &limits)
                .map_err(|e| e.to_string())
        });
        match pixels {
            Ok(pixels) => {
                calibration.add(Input::Pixels(&[&pixels.0]))?;
                count += 1;
            }
            Err(reason) => {
                bar.suspend(|| {
                    output::warn(format_args!("{} is skipped: {reason}", path.display()));
                });
                last_reason = reason;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match paths.last() {
        Some(path) if count == 0 => Err(Error::AllUnreadable {
            count: paths.len(),
            path: path.clone(),
            reason: last_reason,
        }),
        _ => Ok(count),
    }
}
