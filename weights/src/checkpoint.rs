//! A checkpoint's tensors under torchvision's names, read one at a time so
//! that a large file is never in memory twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::recipe::{Interpolation, Recipe, Resize};

/// What a checkpoint says of itself beside its tensors.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The architecture's name in the family's table.
    pub architecture: Option<String>,
    /// Preprocessing.
    pub recipe: Option<Recipe>,
    /// Class names.
    pub labels: Option<Labels>,
}

/// Where the bytes of a checkpoint live.
enum Bytes {
    Static(&'static [u8]),
    Mapped(Mmap),
    Made(BTreeMap<String, Vec<f32>>),
}

/// One tensor: its name in the file, its type, shape and place.
struct Entry {
    own_name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// Named tensors, whatever they came from.
pub struct Checkpoint {
    name: String,
    facts: Facts,
    digest: String,
    bytes: Bytes,
    entries: BTreeMap<String, Entry>,
}

impl Checkpoint {
    /// Opens a safetensors file; the bytes stay in the file until read.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the map is read-only; a file changed by others while mapped
        // is the caveat of every memory-mapped checkpoint.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let name = path.file_stem().map_or_else(
            || "model".into(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        Self::parse(name, Bytes::Mapped(map))
    }

    /// Reads a safetensors file that is part of the program.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(name.to_owned(), Bytes::Static(bytes))
    }

    /// A checkpoint made in memory from tensors in any supported naming.
    #[must_use]
    pub fn from_tensors(
        name: &str,
        facts: Facts,
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    ) -> Self {
        let mut values = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (own_name, shape, data) in tensors {
            let range = 0..data.len() * 4;
            values.insert(own_name.clone(), data);
            let entry = Entry {
                own_name: own_name.clone(),
                dtype: Dtype::F32,
                shape,
                range,
            };
            entries.insert(own_name, entry);
        }
        Self {
            name: name.to_owned(),
            facts,
            digest: "none: made in memory".into(),
            bytes: Bytes::Made(values),
            entries,
        }
    }

    fn parse(name: String, bytes: Bytes) -> Result<Self> {
        let malformed = |fault: String| Error::Malformed {
            origin: name.clone(),
            fault,
        };
        let buffer: &[u8] = match &bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Mapped(map) => map,
            Bytes::Made(_) => &[],
        };
        let (length, header) =
            SafeTensors::read_metadata(buffer).map_err(|e| malformed(e.to_string()))?;
        let base = length + 8;
        let entries = header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let range = base + info.data_offsets.0..base + info.data_offsets.1;
                let entry = Entry {
                    own_name: name.clone(),
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    range,
                };
                (name, entry)
            })
            .collect();
        let facts = match header.metadata() {
            Some(metadata) => facts(&name, &|key| metadata.get(key).map(String::as_str))?,
            None => Facts::default(),
        };
        let digest = Sha256::digest(buffer)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Self {
            name,
            facts,
            digest,
            bytes,
            entries,
        })
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

    /// SHA-256 of the weights, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every tensor's torchvision name and shape.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// What the file calls a tensor.
    #[must_use]
    pub fn own_name(&self, name: &str) -> String {
        self.entries
            .get(name)
            .map_or_else(|| name.to_owned(), |entry| entry.own_name.clone())
    }

    /// The shape of a tensor, if it is there.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The values of tensor `name` in row-major order, widened to f32.
    ///
    /// # Errors
    /// Missing, of another shape than `shape`, of a type that is not read, or
    /// not finite.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let origin = || self.name.clone();
        let entry = self.entries.get(name).ok_or_else(|| Error::Missing {
            origin: origin(),
            tensor: name.to_owned(),
            expected: shape.to_vec(),
        })?;
        let tensor = || entry.own_name.clone();
        if entry.shape != shape {
            return Err(Error::Shape {
                origin: origin(),
                tensor: tensor(),
                found: entry.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let values = match &self.bytes {
            Bytes::Static(bytes) => widen(&bytes[entry.range.clone()], entry.dtype),
            Bytes::Mapped(map) => widen(&map[entry.range.clone()], entry.dtype),
            Bytes::Made(values) => values.get(&entry.own_name).cloned(),
        };
        let values = values.ok_or_else(|| Error::Dtype {
            origin: origin(),
            tensor: tensor(),
            dtype: format!("{:?}", entry.dtype),
        })?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(Error::NotFinite {
                origin: origin(),
                tensor: tensor(),
                index,
                value: values[index],
            }),
            None => Ok(values),
        }
    }
}

/// Little-endian bytes to f32; `None` for a type that is not read.
fn widen(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    let halves = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        Dtype::F32 => Some(
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        Dtype::F16 => Some(
            halves()
                .map(|b| half::f16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        Dtype::BF16 => Some(
            halves()
                .map(|b| half::bf16::from_le_bytes(b).to_f32())
                .collect(),
        ),
        _ => None,
    }
}

/// The `preprocess` entry of a safetensors file's metadata.
#[derive(Deserialize)]
struct Preprocess {
    resize: u32,
    crop: u32,
    interpolation: Interpolation,
    mean: [f32; 3],
    std: [f32; 3],
}

fn facts<'a>(origin: &str, get: &dyn Fn(&str) -> Option<&'a str>) -> Result<Facts> {
    let recipe = get("preprocess")
        .map(|text| {
            serde_json::from_str(text).map_err(|e| Error::Field {
                origin: origin.to_owned(),
                field: "preprocess".into(),
                fault: e.to_string(),
            })
        })
        .transpose()?
        .map(|p: Preprocess| Recipe {
            resize: Resize::ShortSide(p.resize),
            crop: p.crop,
            interpolation: p.interpolation,
            mean: p.mean,
            std: p.std,
        });
    Ok(Facts {
        architecture: get("architecture").map(str::to_owned),
        recipe,
        labels: (get("labels") == Some("imagenet-1k")).then(Labels::imagenet1k),
    })
}
