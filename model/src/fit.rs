//! Which row of the family a checkpoint holds, told by the names and shapes
//! of its tensors.

use std::collections::BTreeMap;

use weights::{Checkpoint, Facts};

use crate::build::build;
use crate::error::{Error, Result};
use crate::family::{Architecture, FAMILY, Shortcut, StrideOn, find};

/// A row and the number of classes of a checkpoint that fits it.
pub(crate) struct Fit {
    pub(crate) row: &'static Architecture,
    pub(crate) classes: usize,
}

/// The row whose tensors `checkpoint` has. Where several have the same (a
/// stride or a shortcut without weights does not show), what the checkpoint
/// says of itself decides, then the order of the table.
///
/// # Errors
/// [`Error::Architecture`] saying which row comes closest and how it differs.
pub(crate) fn fit(checkpoint: &Checkpoint) -> Result<Fit> {
    let classes = match checkpoint.shape("fc.weight") {
        Some([classes, _]) => *classes,
        _ => 0,
    };
    let tensors: BTreeMap<&str, &[usize]> = checkpoint.tensors().collect();
    let facts = checkpoint.facts();
    let named = facts.architecture.as_deref().and_then(find);
    // what a file says of itself is nearly always so, and spares the rest of the table
    let fits = |row: &&Architecture| {
        contradictions(row, facts) == 0 && Difference::between(row, classes, &tensors).len() == 0
    };
    if let Some(row) = named.filter(fits) {
        return Ok(Fit { row, classes });
    }
    let closest = FAMILY
        .iter()
        .map(|row| (Difference::between(row, classes, &tensors), row))
        .min_by_key(|(difference, row)| {
            let unnamed = named.is_some_and(|named| named.name != row.name);
            (difference.len(), contradictions(row, facts), unnamed)
        });
    match closest {
        Some((difference, row)) if difference.len() == 0 => Ok(Fit { row, classes }),
        Some((difference, row)) => Err(Error::Architecture(format!(
            "{} fits no architecture; {}",
            checkpoint.name(),
            difference.describe(row.name, checkpoint),
        ))),
        None => Err(Error::Internal("the family is empty".into())),
    }
}

/// How many of the checkpoint's statements `row` goes against.
fn contradictions(row: &Architecture, facts: &Facts) -> usize {
    let strides_first = row.stride_on == StrideOn::Conv1;
    let pools = row.shortcut == Shortcut::AvgPoolProjection;
    let against = |says: Option<bool>, is: bool| usize::from(says.is_some_and(|says| says != is));
    against(facts.stride_on_first_1x1, strides_first) + against(facts.pooled_shortcut, pools)
}

/// How a checkpoint's tensors differ from a row's parameters.
#[derive(Default)]
struct Difference {
    missing: Vec<(String, Vec<usize>)>,
    /// name, found, expected
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
        let own = |name: &str| checkpoint.own_name(name);
        let mut faults = Vec::new();
        if let Some((name, shape)) = self.missing.first() {
            faults.push(format!(
                "{} missing, first `{}` {shape:?}",
                tensors(self.missing.len()),
                own(name)
            ));
        }
        if let Some((name, found, expected)) = self.reshaped.first() {
            faults.push(format!(
                "{} of another shape, first `{}` {found:?} where {expected:?} is expected",
                tensors(self.reshaped.len()),
                own(name)
            ));
        }
        if let Some(name) = self.extra.first() {
            faults.push(format!(
                "{} too many, first `{}`",
                tensors(self.extra.len()),
                own(name)
            ));
        }
        format!("closest is {row}: {}", faults.join("; "))
    }
}

fn tensors(count: usize) -> String {
    if count == 1 {
        "1 tensor".into()
    } else {
        format!("{count} tensors")
    }
}
