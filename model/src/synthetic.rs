//! A checkpoint made up for a bare architecture, to time and inspect any row
//! of the family without a file.

use weights::{Checkpoint, Facts};

use crate::build::build;
use crate::error::{Error, Result};
use crate::family;

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
