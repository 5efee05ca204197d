//! The tensors of a checkpoint under torchvision's names. Each is read on
//! request, so that a large file is not in memory twice.

mod read;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::OnceLock;

use safetensors::Dtype;

use crate::bytes::{Access, Bytes, sha256};
use crate::converted;
use crate::error::{Error, Result};
use crate::grey;
use crate::metadata::Metadata;
use crate::name;
use crate::naming::Naming;
use crate::open::Opened;
use crate::origin::{Configuration, Origin, Origins};
use crate::parts::Parts;
use crate::tensor::{Tensor, Values};

/// A set of named tensors with their metadata.
///
/// Names are canonical: torchvision's wherever it has one (`conv1`, `bn1`,
/// `layer{1..}.{0..}.conv{k}`, `.bn{k}`, `.downsample.0` for a convolution and
/// `.1` for a norm, `fc` as `[classes, features]`) and timm's otherwise (a deep
/// stem is `conv1.0`, `conv1.1`, `conv1.3`, ...; attention is `.se.*`). `bn` is
/// the last norm of a pre-activation network. Errors give the names in the
/// file.
pub struct Checkpoint {
    name: String,
    /// The file or repository, for error messages.
    origin: String,
    metadata: Metadata,
    files: Vec<Bytes>,
    naming: Naming,
    /// By canonical name.
    tensors: BTreeMap<String, Tensor>,
    /// The scales of 8-bit weights, by the canonical name of the weights.
    scales: BTreeMap<String, Tensor>,
    /// Whether the network reads grey images.
    grey: bool,
    /// What was decided while the file was read.
    notes: Vec<String>,
    origins: Origins,
    digest: OnceLock<String>,
}

impl Checkpoint {
    /// Opens a checkpoint file: safetensors, a PyTorch state dict (parsed without
    /// executing it), or the `*.index.json` of a checkpoint in several files.
    /// The file is memory-mapped; each tensor is read on request.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Access::Mapped)
    }

    /// Opens a checkpoint file as [`Checkpoint::open`] does, with the given
    /// access to its bytes.
    ///
    /// # Errors
    /// When the file cannot be read, is malformed, or changes while it is
    /// copied.
    pub fn open_with(path: &Path, access: Access) -> Result<Self> {
        Self::assemble(
            &name::of_file(path),
            &path.display().to_string(),
            Opened::open(path, access)?,
        )
    }

    /// Opens a checkpoint that is compiled into the program.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::assemble(name, name, Opened::one_file(name, Bytes::Static(bytes))?)
    }

    /// Creates a checkpoint from tensors in memory: name in any supported
    /// naming, shape, and values in row-major order.
    ///
    /// # Errors
    /// When two names map to the same canonical name, or the number of values
    /// does not match the shape.
    pub fn from_tensors(
        name: &str,
        metadata: Metadata,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self> {
        let make = |(name_in_file, shape, values): (String, Vec<usize>, Vec<f32>)| {
            if shape.iter().product::<usize>() == values.len() {
                Ok(f32_tensor(name_in_file, shape, Values::InMemory(values)))
            } else {
                let reason = format!(
                    "tensor `{name_in_file}` has {} values, which do not fill its shape {shape:?}",
                    values.len()
                );
                Err(Error::malformed(name, reason))
            }
        };
        let tensors = tensors.into_iter().map(make).collect::<Result<_>>()?;
        Self::in_memory(name, metadata, tensors)
    }

    /// Creates a checkpoint of pseudo-random weights ([`crate::synthetic`]) with
    /// names in any supported naming. Each tensor is computed when it is read.
    ///
    /// # Errors
    /// When two names map to the same canonical name.
    pub fn synthetic(
        name: &str,
        metadata: Metadata,
        shapes: impl IntoIterator<Item = (String, Vec<usize>)>,
    ) -> Result<Self> {
        let make = |(name_in_file, shape)| f32_tensor(name_in_file, shape, Values::Synthetic);
        Self::in_memory(name, metadata, shapes.into_iter().map(make).collect())
    }

    fn in_memory(name: &str, metadata: Metadata, tensors: Vec<Tensor>) -> Result<Self> {
        let opened = Opened {
            files: Vec::new(),
            tensors,
            metadata,
            notes: Vec::new(),
        };
        let checkpoint = Self::assemble(name, name, opened)?;
        Ok(checkpoint.with_digest("none: made in memory"))
    }

    /// Maps the name of every tensor to its canonical name.
    fn assemble(name: &str, origin: &str, opened: Opened) -> Result<Self> {
        let naming = Naming::detect(opened.tensors.iter().map(|tensor| tensor.name.as_str()));
        let mut notes = opened.notes;
        let Parts {
            network,
            scales,
            zero_points,
            unused,
        } = Parts::of(opened.tensors, &naming);
        match &unused[..] {
            [] => {}
            [one] => notes.push(format!("tensor `{one}` of the training is not used")),
            [first, ..] => notes.push(format!(
                "{} tensors of the training, such as `{first}`, are not used",
                unused.len()
            )),
        }
        if let Some(tensor) = zero_points.iter().find(|zero| !zero.is_zero(&opened.files)) {
            let reason = format!(
                "its weights are quantized with zero points other than 0, in `{}`; quantize them symmetrically",
                tensor.name
            );
            return Err(Error::malformed(origin, reason));
        }
        let (mut tensors, mut grey) = (BTreeMap::new(), false);
        for mut tensor in network {
            let canonical = naming.canonical(&tensor.name);
            // A classifier stored as a 1x1 convolution, [N, C, 1, 1].
            if let ("fc.weight", [_, _, 1, 1]) = (canonical.as_str(), tensor.shape.as_slice()) {
                tensor.flatten_classifier();
            }
            if let Some(rgb) = grey::spread(&canonical, &tensor, &opened.files) {
                (tensor, grey) = (rgb, true);
                notes.push("it expects grey images: it gets the luminance of the pixels".into());
            }
            match tensors.entry(canonical) {
                Entry::Vacant(entry) => {
                    entry.insert(tensor);
                }
                Entry::Occupied(entry) => {
                    return Err(Error::Ambiguous {
                        origin: origin.to_owned(),
                        first: entry.get().name.clone(),
                        second: tensor.name,
                        canonical: entry.key().clone(),
                    });
                }
            }
        }
        if tensors.is_empty() {
            return Err(Error::malformed(origin, "it contains no tensors"));
        }
        let converted = converted::unfold(&mut tensors, &opened.files);
        let ranges = converted.map_err(|reason| Error::malformed(origin, reason))?;
        if ranges.is_some() {
            notes.push("weights and activations are quantized by PyTorch".into());
        }
        let mut metadata = opened.metadata;
        metadata.ranges = metadata.ranges.or(ranges);
        let origins = Origins::of(&metadata, Origin::File);
        if metadata.architecture.is_none() {
            metadata.pooled_shortcut = metadata.pooled_shortcut.or(naming.pooled_shortcut());
        }
        Ok(Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            metadata,
            files: opened.files,
            naming,
            tensors,
            scales,
            grey,
            notes,
            origins,
            digest: OnceLock::new(),
        })
    }

    /// Renames the checkpoint and fills fields of its metadata that are `None`
    /// from the configuration files of its folder.
    pub(crate) fn with_configuration(self, name: &str, configuration: Configuration) -> Self {
        Self {
            name: name.to_owned(),
            metadata: self.metadata.clone().or(configuration.metadata),
            origins: self.origins.or(configuration.origins),
            ..self
        }
    }

    /// Sets the digest, so that it is not computed.
    pub(crate) fn with_digest(self, digest: &str) -> Self {
        Self {
            digest: OnceLock::from(digest.to_owned()),
            ..self
        }
    }

    /// Replaces the values of some tensors, given by canonical name.
    ///
    /// # Errors
    /// When there is no tensor of that name, or the number of values does not
    /// match its shape.
    pub fn with_values(
        mut self,
        values: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) -> Result<Self> {
        for (name, values) in values {
            let origin = self.origin.clone();
            let Some(tensor) = self.tensors.get_mut(&name) else {
                let reason = format!("it has no tensor `{name}` to replace the values of");
                return Err(Error::malformed(&origin, reason));
            };
            let elements: usize = tensor.shape.iter().product();
            if values.len() != elements {
                let reason = format!(
                    "tensor `{name}` has {elements} elements, not {}",
                    values.len()
                );
                return Err(Error::malformed(&origin, reason));
            }
            tensor.dtype = Dtype::F32;
            tensor.values = Values::InMemory(values);
        }
        Ok(self)
    }

    /// Replaces the metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was decided while the file was read, for people: which of several
    /// sets of weights was taken, which tensors are not used.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the network was trained on grey images; its tensors are those of a
    /// network of RGB images that reads the luminance.
    #[must_use]
    pub fn is_grey(&self) -> bool {
        self.grey
    }

    /// Where the fields of the metadata are from.
    #[must_use]
    pub fn origins(&self) -> Origins {
        self.origins
    }

    /// The metadata of the checkpoint.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// SHA-256 of the concatenated files of the weights, in hexadecimal. It is
    /// computed on the first call, which takes about a second for a gigabyte.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| sha256(&self.files))
    }

    /// The canonical name and shape of every tensor, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()))
    }

    /// The canonical name, shape and dtype of every tensor.
    pub(crate) fn typed(&self) -> impl Iterator<Item = (&str, &[usize], Dtype)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice(), tensor.dtype))
    }

    /// The shape of a tensor; `None` if there is no such tensor.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The name of tensor `name` in the file, or the name that it would have in
    /// the file's naming. For messages.
    #[must_use]
    pub fn name_in_file(&self, name: &str) -> String {
        match self.tensors.get(name) {
            Some(tensor) => tensor.name.clone(),
            None => self.naming.in_file(name),
        }
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
