//! A checkpoint's tensors under torchvision's names, read one at a time so
//! that a large file is never in memory twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::OnceLock;

use safetensors::Dtype;

use crate::bytes::{Bytes, sha256};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::naming::Naming;
use crate::open::Opened;
use crate::quantised;
use crate::tensor::{Tensor, Values};

/// Named tensors, whatever they came from.
///
/// Names are torchvision's wherever it has one: `conv1`, `bn1`,
/// `layer{1..}.{0..}.conv{k}`, `.bn{k}`, `.downsample.0` (convolution) and
/// `.1` (norm), `fc` as [classes, features]; timm's for what torchvision
/// lacks: a deep stem is `conv1.0`, `conv1.1`, `conv1.3`, ..., attention is
/// `.se.*`; and `bn` for the last norm of a pre-activation network. Errors
/// name tensors as the file does.
pub struct Checkpoint {
    name: String,
    /// The file or repository, for errors.
    origin: String,
    facts: Facts,
    files: Vec<Bytes>,
    naming: Naming,
    /// By canonical name.
    tensors: BTreeMap<String, Tensor>,
    /// The steps of 8-bit weights, by the weights' canonical name.
    scales: BTreeMap<String, Tensor>,
    digest: OnceLock<String>,
}

impl Checkpoint {
    /// Opens a checkpoint file: safetensors, a PyTorch state dict (which is
    /// never executed), or the `*.index.json` of several of either. The
    /// tensors stay in the file until they are read.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        Self::assemble(
            &name_of(path),
            &path.display().to_string(),
            Opened::open(path)?,
        )
    }

    /// Reads a safetensors file that is part of the program.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::assemble(name, name, Opened::one_file(name, Bytes::Static(bytes))?)
    }

    /// A checkpoint made in memory from tensors in any supported naming.
    ///
    /// # Errors
    /// When two tensors mean the same one, or one has not as many values as
    /// its shape says.
    pub fn from_tensors(
        name: &str,
        facts: Facts,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self> {
        let make = |(own, shape, values): (String, Vec<usize>, Vec<f32>)| {
            if shape.iter().product::<usize>() == values.len() {
                Ok(f32_tensor(own, shape, Values::Made(values)))
            } else {
                let fault = format!(
                    "{} values for tensor `{own}` of shape {shape:?}",
                    values.len()
                );
                Err(Error::malformed(name, fault))
            }
        };
        let tensors = tensors.into_iter().map(make).collect::<Result<_>>()?;
        Self::in_memory(name, facts, tensors)
    }

    /// A checkpoint of [`crate::synthetic`] values, each tensor computed when
    /// it is read, from its name in any supported naming.
    ///
    /// # Errors
    /// When two tensors mean the same one.
    pub fn synthetic(
        name: &str,
        facts: Facts,
        shapes: impl IntoIterator<Item = (String, Vec<usize>)>,
    ) -> Result<Self> {
        let make = |(own, shape)| f32_tensor(own, shape, Values::Synthetic);
        Self::in_memory(name, facts, shapes.into_iter().map(make).collect())
    }

    fn in_memory(name: &str, facts: Facts, tensors: Vec<Tensor>) -> Result<Self> {
        let opened = Opened {
            files: Vec::new(),
            tensors,
            facts,
        };
        let checkpoint = Self::assemble(name, name, opened)?;
        Ok(checkpoint.with_digest("none: made in memory"))
    }

    /// Gives every tensor its canonical name.
    fn assemble(name: &str, origin: &str, opened: Opened) -> Result<Self> {
        let naming = Naming::detect(opened.tensors.iter().map(|tensor| tensor.name.as_str()));
        let mut tensors = BTreeMap::new();
        let mut scales = BTreeMap::new();
        // A counter that training keeps and inference never reads.
        let counts = |tensor: &Tensor| tensor.name.ends_with("num_batches_tracked");
        for mut tensor in opened.tensors.into_iter().filter(|tensor| !counts(tensor)) {
            if let Some(weights) = tensor.name.strip_suffix(quantised::SCALE) {
                scales.insert(naming.canonical(weights), tensor);
                continue;
            }
            let canonical = naming.canonical(&tensor.name);
            // A classifier written as a 1x1 convolution, [N, C, 1, 1].
            if let ("fc.weight", [_, _, 1, 1]) = (canonical.as_str(), tensor.shape.as_slice()) {
                tensor.flatten_classifier();
            }
            match tensors.entry(canonical) {
                Entry::Vacant(place) => {
                    place.insert(tensor);
                }
                Entry::Occupied(place) => {
                    return Err(Error::Ambiguous {
                        origin: origin.to_owned(),
                        first: place.get().name.clone(),
                        second: tensor.name,
                        canonical: place.key().clone(),
                    });
                }
            }
        }
        if tensors.is_empty() {
            return Err(Error::malformed(origin, "it holds no tensors"));
        }
        let mut facts = opened.facts;
        if facts.architecture.is_none() {
            facts.pooled_shortcut = facts.pooled_shortcut.or(naming.pooled_shortcut());
        }
        Ok(Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            facts,
            files: opened.files,
            naming,
            tensors,
            scales,
            digest: OnceLock::new(),
        })
    }

    /// The checkpoint under another name, with what else is known about it.
    pub(crate) fn described(self, name: &str, facts: Facts) -> Self {
        Self {
            name: name.to_owned(),
            facts: self.facts.clone().or(facts),
            ..self
        }
    }

    /// The checkpoint with a digest that is known without reading it.
    pub(crate) fn with_digest(self, digest: &str) -> Self {
        Self {
            digest: OnceLock::from(digest.to_owned()),
            ..self
        }
    }

    /// The checkpoint with other values in some of its tensors.
    ///
    /// # Errors
    /// A name that it does not have, or values that do not fill the shape.
    pub fn with_values(
        mut self,
        values: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) -> Result<Self> {
        for (name, values) in values {
            let origin = self.origin.clone();
            let Some(tensor) = self.tensors.get_mut(&name) else {
                let fault = format!("there is no tensor `{name}` to give values to");
                return Err(Error::malformed(&origin, fault));
            };
            let room: usize = tensor.shape.iter().product();
            if values.len() != room {
                let fault = format!("{} values for tensor `{name}` of {room}", values.len());
                return Err(Error::malformed(&origin, fault));
            }
            tensor.dtype = Dtype::F32;
            tensor.values = Values::Made(values);
        }
        Ok(self)
    }

    /// The checkpoint with what else is known about it.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// What to call the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the checkpoint says of itself.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// SHA-256 of the weights' files in hexadecimal, computed when first asked
    /// for: about a second for a gigabyte.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| sha256(&self.files))
    }

    /// Every tensor's canonical name and shape, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()))
    }

    /// Every tensor's canonical name, shape and number type.
    pub(crate) fn typed(&self) -> impl Iterator<Item = (&str, &[usize], Dtype)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice(), tensor.dtype))
    }

    /// The shape of a tensor, if it is there.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// What the file calls tensor `name`, or would call it if it were there:
    /// the name to use in messages.
    #[must_use]
    pub fn own_name(&self, name: &str) -> String {
        match self.tensors.get(name) {
            Some(tensor) => tensor.name.clone(),
            None => self.naming.own(name),
        }
    }

    /// The values of tensor `name` in row-major order, widened to f32.
    ///
    /// # Errors
    /// Missing, of another shape than `shape`, of a type that is not read, or
    /// not finite.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let origin = self.origin.clone();
        let tensor = self.own_name(name);
        let Some(entry) = self.tensors.get(name) else {
            let expected = shape.to_vec();
            return Err(Error::Missing {
                origin,
                tensor,
                expected,
            });
        };
        if entry.shape != shape {
            let (found, expected) = (entry.shape.clone(), shape.to_vec());
            return Err(Error::Shape {
                origin,
                tensor,
                found,
                expected,
            });
        }
        let Some(mut values) = entry.widen(&self.files) else {
            let dtype = entry.dtype.to_string();
            return Err(Error::Dtype {
                origin,
                tensor,
                dtype,
            });
        };
        if matches!(entry.values, Values::Stored(_)) && entry.dtype == Dtype::I8 {
            quantised::widen(&mut values, &self.steps(name, shape)?);
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => {
                let value = values[index];
                Err(Error::NotFinite {
                    origin,
                    tensor,
                    index,
                    value,
                })
            }
            None => Ok(values),
        }
    }

    /// What a unit of each output channel of 8-bit weights `name` is worth.
    fn steps(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let own = self.own_name(name) + quantised::SCALE;
        let expected = vec![shape.first().copied().unwrap_or(0)];
        let missing = || Error::Missing {
            origin: self.origin.clone(),
            tensor: own.clone(),
            expected: expected.clone(),
        };
        let steps = self.scales.get(name).ok_or_else(missing)?;
        if steps.shape != expected {
            return Err(Error::Shape {
                origin: self.origin.clone(),
                tensor: own,
                found: steps.shape.clone(),
                expected,
            });
        }
        steps.widen(&self.files).ok_or_else(missing)
    }
}

fn f32_tensor(name: String, shape: Vec<usize>, values: Values) -> Tensor {
    Tensor {
        name,
        dtype: Dtype::F32,
        shape,
        values,
    }
}

/// A model's name from its file's; from its folder's where the file is called
/// what everyone calls it.
fn name_of(path: &Path) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let name = stem(path).unwrap_or_default();
    if name.starts_with("model") || name.starts_with("pytorch_model") {
        path.parent().and_then(stem).unwrap_or(name)
    } else {
        name
    }
}
