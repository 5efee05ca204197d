//! Checkpoints with random weights, to time and inspect any architecture of the
//! family without a file.

use weights::{Checkpoint, Metadata};

use crate::backend::Input;
use crate::build::build;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};
use crate::family;
use crate::threads::ThreadPool;

/// A checkpoint of the architecture `name` with pseudo-random weights, the same
/// every time.
///
/// # Errors
/// [`Error::Architecture`] with the nearest names when there is no such
/// architecture.
pub fn synthetic(name: &str) -> Result<Checkpoint> {
    let Some(row) = family::find(name) else {
        let nearest = family::nearest(name).join(", ");
        return Err(Error::Architecture(format!(
            "no architecture is called `{name}`; nearest: {nearest}"
        )));
    };
    let parameters = build(row, row.input, row.classes).parameters();
    let metadata = Metadata {
        architecture: Some(row.name.to_owned()),
        ..Metadata::default()
    };
    Ok(Checkpoint::synthetic(row.name, metadata, parameters)?)
}

/// As [`synthetic`], with the ranges of two random images, so that it can run
/// in 8-bit integers.
///
/// # Errors
/// As there.
pub fn synthetic_quantised(name: &str, threads: &ThreadPool) -> Result<Checkpoint> {
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
