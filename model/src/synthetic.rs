//! A checkpoint made up for a bare architecture, to time and inspect any row
//! of the family without a file.

use weights::{Checkpoint, Facts};

use crate::build::build;
use crate::calibrate::Calibration;
use crate::cores::Cores;
use crate::error::{Error, Result};
use crate::family;
use crate::options::{DeviceChoice, Dtype, Options};
use crate::plan::Input;
use crate::runner::Model;

/// Weights made from their names for the row called `name`.
///
/// # Errors
/// [`Error::Architecture`] with the nearest names when there is no such row.
pub fn synthetic(name: &str) -> Result<Checkpoint> {
    let Some(row) = family::find(name) else {
        let nearest = family::nearest(name).join(", ");
        return Err(Error::Architecture(format!(
            "no architecture is called `{name}`; nearest: {nearest}"
        )));
    };
    let parameters = build(row, row.input, row.classes).parameters();
    let facts = Facts {
        architecture: Some(row.name.to_owned()),
        ..Facts::default()
    };
    Ok(Checkpoint::synthetic(row.name, facts, parameters)?)
}

/// As [`synthetic`], with the ranges of two made-up images, so that it can be
/// run in 8-bit integers.
///
/// # Errors
/// As there.
pub fn synthetic_quantised(name: &str, cores: &Cores) -> Result<Checkpoint> {
    let checkpoint = synthetic(name)?;
    let options = Options {
        device: DeviceChoice::Cpu,
        dtype: Dtype::F32,
        ..Options::default()
    };
    let model = Model::load(&checkpoint, &options, cores)?;
    let size = model.card().input_size;
    let mut calibration = Calibration::new(model.plan()?);
    calibration.add(Input::Planes(&weights::synthetic::tensor(
        "input",
        &[2 * 3 * size * size],
    )))?;
    let facts = Facts {
        ranges: Some(calibration.ranges()),
        ..checkpoint.facts().clone()
    };
    Ok(checkpoint.with_facts(facts))
}
