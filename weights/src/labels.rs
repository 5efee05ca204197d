//! The names of the classes that a network predicts.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Largest label file in bytes; 21 000 classes take a tenth of it.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// One class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `WordNet` id, for the classes of ImageNet.
    pub wnid: Option<String>,
    /// Name for people; torchvision's for ImageNet.
    pub name: String,
}

/// The labels of all classes, in the order of the network's outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// The 1000 classes of ImageNet-1k, with `WordNet` ids.
    #[must_use]
    pub fn imagenet1k() -> Self {
        let line = |line: &str| {
            let (wnid, name) = line.split_once('\t').unwrap_or(("", line));
            Label {
                wnid: Some(wnid.to_owned()),
                name: name.to_owned(),
            }
        };
        Self(
            include_str!("../imagenet1k.tsv")
                .lines()
                .map(line)
                .collect(),
        )
    }

    /// `class_0`, `class_1`, ...: for classes without names.
    #[must_use]
    pub fn numbered(classes: usize) -> Self {
        Self::from_names((0..classes).map(|i| format!("class_{i}")))
    }

    /// Labels without `WordNet` ids.
    pub fn from_names(names: impl IntoIterator<Item = String>) -> Self {
        Self(
            names
                .into_iter()
                .map(|name| Label { wnid: None, name })
                .collect(),
        )
    }

    /// Parses a JSON array or object from a configuration or a label file. A
    /// class is a name or `[wnid, name]`. The keys of an object are the indices
    /// of the classes, from 0 without gaps.
    pub(crate) fn from_json(text: &str) -> std::result::Result<Self, String> {
        let classes: Vec<Value> = match serde_json::from_str(text) {
            Ok(Value::Array(classes)) => classes,
            Ok(Value::Object(classes)) => by_index(classes)?,
            Ok(_) => return Err("its content is not a JSON array or object of names".into()),
            Err(e) => {
                return Err(format!(
                    "its content is not a JSON array or object of names: {e}"
                ));
            }
        };
        classes
            .into_iter()
            .enumerate()
            .map(|(index, class)| label(index, class))
            .collect()
    }

    /// A JSON array that [`Labels::from_json`] parses.
    pub(crate) fn to_json(&self) -> String {
        let class = |label: &Label| match &label.wnid {
            Some(wnid) => Value::from([wnid.as_str(), &label.name]),
            None => Value::from(label.name.as_str()),
        };
        Value::from_iter(self.0.iter().map(class)).to_string()
    }

    /// The labels for a checkpoint without any: ImageNet's for 1000 classes,
    /// otherwise [`Labels::numbered`].
    #[must_use]
    pub fn guess(classes: usize) -> Self {
        if classes == 1000 {
            Self::imagenet1k()
        } else {
            Self::numbered(classes)
        }
    }

    /// Adds ImageNet's `WordNet` ids if these are the classes of ImageNet-1k in
    /// their order, as transformers writes them: `tench, Tinca tinca`.
    pub(crate) fn with_imagenet_wnids(self) -> Self {
        let imagenet = Self::imagenet1k();
        let same = |(label, imagenet): &(&Label, &Label)| {
            label.name.split(',').next() == Some(imagenet.name.as_str())
        };
        // A few names differ, because only one list makes duplicates unique.
        if self.len() != imagenet.len()
            || self.iter().zip(imagenet.iter()).filter(same).count() < 900
        {
            return self;
        }
        let wnids = imagenet.0.into_iter().map(|label| label.wnid);
        self.0
            .into_iter()
            .zip(wnids)
            .map(|(label, wnid)| Label { wnid, ..label })
            .collect()
    }

    /// Reads a label file: a JSON array or object, or one class on each line, as
    /// a name or `wnid<TAB>name`.
    ///
    /// # Errors
    /// When the file cannot be read, is malformed, or a class has no name.
    pub fn from_file(path: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        let file = File::open(path).map_err(read)?;
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(read)?;
        let labels = if text.trim_start().starts_with(['[', '{']) {
            Self::from_json(&text)
        } else {
            text.trim_end_matches(['\r', '\n'])
                .lines()
                .enumerate()
                .map(line)
                .collect()
        };
        labels.map_err(|reason| Error::malformed(&path.display().to_string(), reason))
    }

    /// Checks that there is one label for each class.
    ///
    /// # Errors
    /// [`Error::Labels`] when the numbers differ.
    pub fn expect(self, classes: usize) -> Result<Self> {
        if self.0.len() == classes {
            Ok(self)
        } else {
            Err(Error::Labels {
                labels: self.0.len(),
                classes,
            })
        }
    }

    /// Number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no classes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The label of output `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Label> {
        self.0.get(index)
    }

    /// All labels in order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

/// The values of an object whose keys are the indices from 0, in their order.
fn by_index(mut classes: Map<String, Value>) -> std::result::Result<Vec<Value>, String> {
    let count = classes.len();
    let class = |index: usize| {
        let class = classes.remove(&index.to_string());
        class.ok_or_else(|| {
            format!(
                "there are {count} classes but none with index {index}; indices must be 0 to {}",
                count - 1
            )
        })
    };
    (0..count).map(class).collect()
}

fn line((index, line): (usize, &str)) -> std::result::Result<Label, String> {
    let (wnid, name) = match line.split_once('\t') {
        Some((wnid, name)) => (Some(wnid.trim().to_owned()), name.trim()),
        None => (None, line.trim()),
    };
    if name.is_empty() {
        return Err(format!(
            "line {} is empty; each line must name a class",
            index + 1
        ));
    }
    Ok(Label {
        wnid,
        name: name.to_owned(),
    })
}

fn label(index: usize, class: Value) -> std::result::Result<Label, String> {
    match class {
        Value::String(name) => Ok(Label { wnid: None, name }),
        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
            Ok([Value::String(wnid), Value::String(name)]) => Ok(Label {
                wnid: Some(wnid),
                name,
            }),
            _ => Err(format!(
                "class {index} must be a name or a pair of WordNet id and name"
            )),
        },
        _ => Err(format!(
            "class {index} must be a name or a pair of WordNet id and name"
        )),
    }
}
