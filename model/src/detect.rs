//! Detects the architecture of a checkpoint by the names and shapes of its
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

/// The architecture that has the tensors of `checkpoint`. Several can have the
/// same ones, as strides and shortcuts without weights do not show. Then the
/// checkpoint's metadata decides, then the order of the table.
///
/// # Errors
/// [`Error::Architecture`] with the closest architecture and how it differs.
pub(crate) fn detect(checkpoint: &Checkpoint) -> Result<Detected> {
    let classes = match checkpoint.shape("fc.weight") {
        Some([classes, _]) => *classes,
        _ => 0,
    };
    let tensors: BTreeMap<&str, &[usize]> = checkpoint.tensors().collect();
    let metadata = checkpoint.metadata();
    let named = metadata.architecture.as_deref().and_then(find);
    // the metadata is nearly always right, which saves comparing the whole table
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
            "{} matches no architecture; {}",
            checkpoint.name(),
            difference.describe(row.name, checkpoint),
        ))),
        None => Err(Error::Internal("the family is empty".into())),
    }
}

/// How many statements of the metadata `row` contradicts.
fn contradictions(row: &Architecture, metadata: &Metadata) -> usize {
    let strides_first = row.stride_on == StrideOn::Conv1;
    let pools = row.shortcut == Shortcut::AvgPoolProjection;
    let against = |says: Option<bool>, is: bool| usize::from(says.is_some_and(|says| says != is));
    against(metadata.stride_on_first_1x1, strides_first) + against(metadata.pooled_shortcut, pools)
}

/// How a checkpoint's tensors differ from the parameters of an architecture.
#[derive(Default)]
struct Difference {
    missing: Vec<(String, Vec<usize>)>,
    /// Name, found shape, expected shape.
    reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    extra: Vec<String>,
}

impl Difference {
    fn between(row: &Architecture, classes: usize, tensors: &BTreeMap<&str, &[usize]>) -> Self {
        let mut difference = Self::default();
        let mut left = tensors.clone();
        for (name, shape) in build(row, row.input, classes).parameters() {
            match left.remove(name.as_str()) {
                None => difference.missing.push((name, shape)),
                Some(found) if found != shape => {
                    difference.reshaped.push((name, found.to_vec(), shape));
                }
                Some(_) => {}
            }
        }
        difference.extra = left.into_keys().map(str::to_owned).collect();
        difference
    }

    fn len(&self) -> usize {
        self.missing.len() + self.reshaped.len() + self.extra.len()
    }

    fn describe(&self, row: &str, checkpoint: &Checkpoint) -> String {
        let own = |name: &str| checkpoint.name_in_file(name);
        let mut differences = Vec::new();
        if let Some((name, shape)) = self.missing.first() {
            differences.push(format!(
                "{} missing, first `{}` {shape:?}",
                tensors(self.missing.len()),
                own(name)
            ));
        }
        if let Some((name, found, expected)) = self.reshaped.first() {
            differences.push(format!(
                "{} of another shape, first `{}` {found:?}, expected {expected:?}",
                tensors(self.reshaped.len()),
                own(name)
            ));
        }
        if let Some(name) = self.extra.first() {
            differences.push(format!(
                "{} unexpected, first `{}`",
                tensors(self.extra.len()),
                own(name)
            ));
        }
        format!("closest is {row}: {}", differences.join("; "))
    }
}

fn tensors(count: usize) -> String {
    if count == 1 {
        "1 tensor".into()
    } else {
        format!("{count} tensors")
    }
}
