//! Checkpoints with random weights, to benchmark and inspect any supported
//! architecture without a file.

use weights::{Checkpoint, Metadata};

use crate::backend::Input;
use crate::build::build;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};
use crate::family;
use crate::threads::ThreadPool;

/// A checkpoint of the architecture `name` with pseudo-random weights. Each call
/// returns the same weights.
///
/// # Errors
/// [`Error::Architecture`] with the most similar names if no architecture has this
/// name.
pub fn synthetic(name: &str) -> Result<Checkpoint> {
    let Some(row) = family::find(name) else {
        let nearest = family::nearest(name).join(", ");
        return Err(Error::Architecture(format!(
            "unknown architecture `{name}`; the most similar names are {nearest}"
        )));
    };
    let parameters = build(row, row.input, row.classes).parameters();
    let metadata = Metadata {
        architecture: Some(row.name.to_owned()),
        ..Metadata::default()
    };
    Ok(Checkpoint::synthetic(row.name, metadata, parameters)?)
}

/// As [`synthetic`], calibrated on two random images, so that it can run in int8.
///
/// # Errors
/// As [`synthetic`].
pub fn synthetic_quantized(name: &str, threads: &ThreadPool) -> Result<Checkpoint> {
    let checkpoint = synthetic(name)?;
    let mut calibration = Calibration::new(&checkpoint, threads)?;
    let side = calibration.preprocessing().crop as usize;
    let images = weights::synthetic::tensor("input", &[2 * 3 * side * side]);
    calibration.add(Input::Planes(&images))?;
    let metadata = Metadata {
        ranges: Some(calibration.ranges()),
        ..checkpoint.metadata().clone()
    };
    Ok(checkpoint.with_metadata(metadata))
}
