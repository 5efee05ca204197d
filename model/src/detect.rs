//! Detects the architecture of a checkpoint from the names and shapes of its
//! tensors.

use std::collections::BTreeMap;

use weights::{Checkpoint, Metadata};

use crate::build::build;
use crate::error::{Error, Result};
use crate::family::{Architecture, FAMILY, Shortcut, StrideOn, find};

/// The architecture and the number of classes of a checkpoint.
pub(crate) struct Detected {
    pub(crate) row: &'static Architecture,
    pub(crate) classes: usize,
}

/// The architecture whose parameters are the tensors of `checkpoint`. Several
/// architectures can have the same parameters, because strides and shortcuts
/// without weights do not change them. Of these, the metadata of the checkpoint
/// determines the architecture. If several remain, the first in the table is used.
///
/// # Errors
/// [`Error::Architecture`] with the closest architecture and the differences.
pub(crate) fn detect(checkpoint: &Checkpoint) -> Result<Detected> {
    let classes = match checkpoint.shape("fc.weight") {
        Some([classes, _]) => *classes,
        _ => 0,
    };
    let tensors: BTreeMap<&str, &[usize]> = checkpoint.tensors().collect();
    let metadata = checkpoint.metadata();
    let named = metadata.architecture.as_deref().and_then(find);
    // fast path: usually the architecture in the metadata matches
    let matches = |row: &&Architecture| {
        contradictions(row, metadata) == 0 && Difference::between(row, classes, &tensors).len() == 0
    };
    if let Some(row) = named.filter(matches) {
        return Ok(Detected { row, classes });
    }
    let closest = FAMILY
        .iter()
        .map(|row| (Difference::between(row, classes, &tensors), row))
        .min_by_key(|(difference, row)| {
            let unnamed = named.is_some_and(|named| named.name != row.name);
            (difference.len(), contradictions(row, metadata), unnamed)
        });
    match closest {
        Some((difference, row)) if difference.len() == 0 => Ok(Detected { row, classes }),
        Some((difference, row)) => Err(Error::Architecture(format!(
            "{} matches no supported architecture; {}",
            checkpoint.name(),
            difference.describe(row.name, checkpoint),
        ))),
        None => Err(Error::Internal("the architecture table is empty".into())),
    }
}

/// In how many properties `row` differs from those recorded in the metadata.
fn contradictions(row: &Architecture, metadata: &Metadata) -> usize {
    let stride_on_first_1x1 = row.stride_on == StrideOn::Conv1;
    let pooled_shortcut = row.shortcut == Shortcut::AvgPoolProjection;
    let differs = |recorded: Option<bool>, actual: bool| {
        usize::from(recorded.is_some_and(|recorded| recorded != actual))
    };
    differs(metadata.stride_on_first_1x1, stride_on_first_1x1)
        + differs(metadata.pooled_shortcut, pooled_shortcut)
}

/// How a checkpoint's tensors differ from the parameters of an architecture.
#[derive(Default)]
struct Difference {
    /// Name, expected shape.
    missing: Vec<(String, Vec<usize>)>,
    /// Name, found shape, expected shape.
    wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
    unexpected: Vec<String>,
}

impl Difference {
    fn between(row: &Architecture, classes: usize, tensors: &BTreeMap<&str, &[usize]>) -> Self {
        let mut difference = Self::default();
        let mut remaining = tensors.clone();
        for (name, shape) in build(row, row.input, classes).parameters() {
            match remaining.remove(name.as_str()) {
                None => difference.missing.push((name, shape)),
                Some(found) if found != shape => {
                    difference.wrong_shape.push((name, found.to_vec(), shape));
                }
                Some(_) => {}
            }
        }
        difference.unexpected = remaining.into_keys().map(str::to_owned).collect();
        difference
    }

    /// Number of tensors that differ.
    fn len(&self) -> usize {
        self.missing.len() + self.wrong_shape.len() + self.unexpected.len()
    }

    /// The differences as text, for an error.
    fn describe(&self, row: &str, checkpoint: &Checkpoint) -> String {
        let in_file = |name: &str| checkpoint.name_in_file(name);
        let mut differences = Vec::new();
        if let Some((name, shape)) = self.missing.first() {
            differences.push(format!(
                "{} missing, first `{}` {shape:?}",
                tensors(self.missing.len()),
                in_file(name)
            ));
        }
        if let Some((name, found, expected)) = self.wrong_shape.first() {
            differences.push(format!(
                "{} with the wrong shape, first `{}` {found:?}, expected {expected:?}",
                tensors(self.wrong_shape.len()),
                in_file(name)
            ));
        }
        if let Some(name) = self.unexpected.first() {
            differences.push(format!(
                "{} unexpected, first `{}`",
                tensors(self.unexpected.len()),
                in_file(name)
            ));
        }
        format!("the closest is {row}: {}", differences.join("; "))
    }
}

fn tensors(count: usize) -> String {
    if count == 1 {
        "1 tensor".into()
    } else {
        format!("{count} tensors")
    }
}
