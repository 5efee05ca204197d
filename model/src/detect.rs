//! Detects the architecture of a checkpoint from the names and shapes of its
//! tensors.

use std::collections::BTreeMap;

use weights::{Checkpoint, Metadata, Origin};

use crate::build::build;
use crate::error::{Error, Result};
use crate::family::{Architecture, Block, FAMILY, Shortcut, StrideOn, find, nearest};
use crate::name::{lookalike, without_training};

/// The architecture and the number of classes of a checkpoint.
pub(crate) struct Detected {
    pub(crate) row: &'static Architecture,
    pub(crate) classes: usize,
    /// What shows that it is this architecture.
    pub(crate) why: String,
}

/// The architecture of a checkpoint: the one that it names, or the one that has
/// its tensors. Several architectures can have the same tensors, because strides
/// and shortcuts without weights do not change them. Then the metadata of the
/// checkpoint determines the architecture, or else the order of the table.
///
/// # Errors
/// [`Error::Architecture`] when the name is not in the table, when name, metadata
/// and tensors contradict each other, or with the closest architecture and how it
/// differs.
pub(crate) fn detect(checkpoint: &Checkpoint) -> Result<Detected> {
    let classes = match checkpoint.shape("fc.weight") {
        Some([classes, _]) => *classes,
        _ => 0,
    };
    let has_blocks = checkpoint.shape("layer1.0.conv1.weight").is_some();
    if has_blocks && checkpoint.shape("fc.weight").is_none() {
        let reason = format!(
            "it has no classifier `{}`, so it can be trained further but names no classes",
            checkpoint.name_in_file("fc.weight")
        );
        return Err(refuse(checkpoint, &reason));
    }
    let metadata = checkpoint.metadata();
    if let Some(stated) = metadata.classes.filter(|stated| *stated != classes) {
        return Err(refuse(
            checkpoint,
            &format!("its configuration states {stated} classes, its classifier has {classes}"),
        ));
    }
    if let Some(reason) = channels(checkpoint) {
        return Err(refuse(checkpoint, &reason));
    }
    let subject = Subject {
        checkpoint,
        classes,
        tensors: checkpoint.tensors().collect(),
        layers: layers(checkpoint),
    };
    if let Some(name) = metadata.architecture.as_deref() {
        let source = checkpoint.origins().architecture;
        let source = source.map_or("the metadata".to_owned(), |origin: Origin| {
            origin.to_string()
        });
        return subject.named(name, &source);
    }
    match lookalike(checkpoint.name()) {
        Some(name) => subject.named(name, "its own name"),
        None => subject.unnamed(),
    }
}

/// The checkpoint whose architecture is to be found.
struct Subject<'a> {
    checkpoint: &'a Checkpoint,
    classes: usize,
    tensors: BTreeMap<&'a str, &'a [usize]>,
    /// Number of blocks in each stage.
    layers: Vec<usize>,
}

impl Subject<'_> {
    /// The architecture that `source` calls `name`, if nothing contradicts it.
    fn named(&self, name: &str, source: &str) -> Result<Detected> {
        let network = without_training(name);
        let Some(row) = find(&network) else {
            let reason = format!(
                "{source} says that its architecture is `{name}`, which is not in the table; \
                 nearest are {}",
                nearest(&network).join(", ")
            );
            return Err(refuse(self.checkpoint, &reason));
        };
        if let Some(reason) = contradiction(row, self.checkpoint.metadata()) {
            return Err(refuse(self.checkpoint, &reason));
        }
        let difference = self.difference(row);
        if difference.len() > 0 {
            let same = FAMILY.iter().find(|row| self.has_tensors_of(row));
            let but = match same {
                Some(other) => format!("they are those of `{}`", other.name),
                None => difference.describe(row.name, self.checkpoint),
            };
            let reason = format!(
                "{source} says that its architecture is `{name}`, which its tensors contradict: {but}"
            );
            return Err(refuse(self.checkpoint, &reason));
        }
        let why = format!("named `{name}` by {source}");
        Ok(self.found(row, why))
    }

    /// The architecture that has the tensors.
    fn unnamed(&self) -> Result<Detected> {
        let metadata = self.checkpoint.metadata();
        let same = FAMILY.iter().filter(|row| self.has_tensors_of(row));
        let same: Vec<&'static Architecture> = same.collect();
        let agreeing = same.iter().copied();
        let mut agreeing = agreeing.filter(|row| contradiction(row, metadata).is_none());
        if let Some(row) = agreeing.next() {
            let others: Vec<&str> = agreeing.map(|row| row.name).collect();
            let why = match others[..] {
                [] => "the only one with these tensors".to_owned(),
                _ => format!(
                    "the first one with these tensors; {} has them too",
                    others.join(", ")
                ),
            };
            return Ok(self.found(row, why));
        }
        if let Some(reason) = same.iter().find_map(|row| contradiction(row, metadata)) {
            return Err(refuse(self.checkpoint, &reason));
        }
        let differences = FAMILY.iter().map(|row| (self.difference(row), row));
        let closest = differences.min_by_key(|(difference, row)| {
            let contradicts = contradiction(row, metadata).is_some();
            (difference.len(), contradicts)
        });
        match closest {
            Some((difference, row)) => Err(Error::Architecture(format!(
                "{} matches no supported architecture; {}",
                self.checkpoint.name(),
                difference.describe(row.name, self.checkpoint),
            ))),
            None => Err(Error::Internal("the architecture table is empty".into())),
        }
    }

    fn found(&self, row: &'static Architecture, why: String) -> Detected {
        Detected {
            row,
            classes: self.classes,
            why,
        }
    }

    /// Whether it has exactly the parameters of `row`. Only rows with its blocks are
    /// built.
    fn has_tensors_of(&self, row: &Architecture) -> bool {
        row.layers == self.layers && self.difference(row).len() == 0
    }

    fn difference(&self, row: &Architecture) -> Difference {
        Difference::between(row, self.classes, &self.tensors)
    }
}

/// The number of blocks in each stage, by the first convolution of each.
fn layers(checkpoint: &Checkpoint) -> Vec<usize> {
    let blocks = |stage: usize| {
        let exists = |block: &usize| {
            let conv = format!("layer{stage}.{block}.conv1.weight");
            checkpoint.shape(&conv).is_some()
        };
        (0..).take_while(exists).count()
    };
    (1..).map(blocks).take_while(|&blocks| blocks > 0).collect()
}

/// Why the channels that the first convolution reads are not those of images. A
/// checkpoint of grey images has three by now.
fn channels(checkpoint: &Checkpoint) -> Option<String> {
    let stems = ["conv1.weight", "conv1.0.weight", "layer0.conv1.weight"];
    let first = stems.iter().find(|name| checkpoint.shape(name).is_some())?;
    let [_, channels, _, _] = *checkpoint.shape(first)? else {
        return None;
    };
    let reads = if checkpoint.is_grey() { 1 } else { channels };
    let name = checkpoint.name_in_file(first);
    let stated = checkpoint.metadata().channels;
    if let Some(stated) = stated.filter(|stated| *stated != reads) {
        return Some(format!(
            "its configuration states {stated} input channels, its first convolution `{name}` \
             reads {reads}"
        ));
    }
    let advice = match channels {
        3 => return None,
        1 => {
            "quantized weights of grey images are not supported: save them before they are quantized"
        }
        _ => {
            "images have red, green and blue; there is no alpha or infrared to give it. Train it \
             with 3 input channels, or with 1 for grey images"
        }
    };
    Some(format!(
        "its first convolution `{name}` reads {channels} channels; {advice}"
    ))
}

fn refuse(checkpoint: &Checkpoint, reason: &str) -> Error {
    Error::Architecture(format!("{} cannot be served: {reason}", checkpoint.name()))
}

/// What the metadata states that is not true of `row`.
fn contradiction(row: &Architecture, metadata: &Metadata) -> Option<String> {
    let strides_first = row.stride_on == StrideOn::Conv1;
    let pools = row.shortcut == Shortcut::AvgPoolProjection;
    let name = row.name;
    // a basic block has one place for its stride
    if row.block == Block::Bottleneck
        && let Some(first) = metadata.stride_on_first_1x1
        && first != strides_first
    {
        let of = |first| if first { "first 1x1" } else { "3x3" };
        return Some(format!(
            "its metadata says that the stride of a bottleneck is on the {} convolution; its \
             tensors are those of `{name}`, where it is on the {}",
            of(first),
            of(strides_first)
        ));
    }
    let stated = metadata.pooled_shortcut?;
    (stated != pools).then(|| {
        let of = |pools| if pools { "with" } else { "without" };
        format!(
            "it has projection shortcuts {} average pooling; its tensors are those of `{name}`, \
             whose shortcuts are {} it",
            of(stated),
            of(pools)
        )
    })
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
