//! `resnet quantize`: any checkpoint as 8-bit integers, their ranges learnt
//! from photos. The file is served like any other.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use model::plan::Input;
use model::{Calibration, Dtype, Model};
use weights::Numbers;

use super::written::write;
use super::{Error, photos};
use crate::config::{Faults, ModelFlags, open};
use crate::photo;

/// The flags of `quantize`.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// What to quantise: as --model of the other commands
    #[arg(value_name = "IN")]
    from: String,

    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    to: PathBuf,

    /// Photos of the kind that will be classified; labels are not needed
    #[arg(long, value_name = "FOLDER")]
    calibrate: PathBuf,

    /// How many of them, spread over the folder
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,

    /// Threads that compute
    #[arg(long, env = "RESNET_THREADS", default_value = "auto")]
    threads: String,
}

/// Quantises.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let mut faults = Faults::default();
    let mut config = ModelFlags::of(&flags.from, &flags.threads).check(&mut faults);
    config.options.dtype = Dtype::F32;
    let config = faults.none_or(config)?;
    let paths = photos::find(std::slice::from_ref(&flags.calibrate))?;
    let checkpoint = open(&flags.from)?;
    let (network, _) = config.run(&checkpoint)?;
    let (calibration, seen) = learn(&network, &spread(paths, flags.images as usize))?;

    let mut facts = model::complete_facts(&checkpoint)?;
    facts.ranges = Some(calibration.ranges());
    let corrections = calibration.corrections(&checkpoint)?;
    let corrected = checkpoint.with_values(corrections)?;
    let how = format!(" in int8, ranges of {seen} photos");
    write(&corrected, &facts, Numbers::Int8, &flags.to, &how)
}

/// `count` of the paths, evenly.
fn spread(paths: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    let all = paths.len();
    let count = count.min(all);
    (0..count).map(|i| paths[i * all / count].clone()).collect()
}

/// Runs the photos through the network in f32; how many could be read.
fn learn<'a>(network: &'a Model, paths: &[PathBuf]) -> Result<(Calibration<'a>, usize), Error> {
    let mut calibration = Calibration::new(network.plan()?);
    let (mut seen, mut last) = (0, String::new());
    let bar = photos::bar(paths.len());
    for path in paths {
        let bytes = std::fs::read(path).map_err(|e| e.to_string());
        let limits = photo::Limits::default();
        let pixels = bytes.and_then(|bytes| {
            photo::read(&bytes, network.recipe(), &limits).map_err(|e| e.to_string())
        });
        match pixels {
            Ok(pixels) => {
                calibration.add(Input::Pixels(&[&pixels.0]))?;
                seen += 1;
            }
            Err(reason) => {
                tracing::warn!("{} is left out: {reason}", path.display());
                last = reason;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match paths.last() {
        Some(path) if seen == 0 => Err(Error::Unreadable {
            count: paths.len(),
            path: path.clone(),
            reason: last,
        }),
        _ => Ok((calibration, seen)),
    }
}
