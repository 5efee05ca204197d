//! Tells a checkpoint's format from its bytes, whatever it is called, and
//! gathers the tensors of all its files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bytes::Bytes;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::tensor::{Tensor, Values};
use crate::{pytorch, safetensors, sharded};

/// The files of a checkpoint, parsed but not read.
pub(crate) struct Opened {
    pub(crate) files: Vec<Bytes>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) facts: Facts,
}

/// What the first bytes of a file show.
enum Format {
    Safetensors,
    PyTorch,
    Index,
    LfsPointer,
}

impl Opened {
    /// Opens a checkpoint of one file, or the index of several.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = Bytes::map(path)?;
        match Format::of(&bytes) {
            Format::Index => sharded::open(path, &bytes),
            _ => Self::one_file(&path.display().to_string(), bytes),
        }
    }

    /// Parses a file that holds tensors itself.
    pub(crate) fn one_file(origin: &str, bytes: Bytes) -> Result<Self> {
        let (tensors, metadata) = match Format::of(&bytes) {
            Format::Safetensors => safetensors::parse(origin, &bytes)?,
            Format::PyTorch => (pytorch::parse(origin, &bytes)?, BTreeMap::new()),
            Format::Index => {
                return Err(Error::malformed(origin, "an index where tensors should be"));
            }
            Format::LfsPointer => {
                return Err(Error::malformed(
                    origin,
                    "it is a Git LFS pointer to the weights; fetch them with `git lfs pull`",
                ));
            }
        };
        let facts = Facts::from_metadata(origin, &metadata)?;
        Ok(Self {
            files: vec![bytes],
            tensors,
            facts,
        })
    }

    /// Adds the files and tensors of `other`; the facts stay.
    pub(crate) fn add(&mut self, other: Self) {
        let before = self.files.len();
        self.files.extend(other.files);
        for mut tensor in other.tensors {
            if let Values::Stored(place) = &mut tensor.values {
                place.file += before;
            }
            self.tensors.push(tensor);
        }
    }
}

impl Format {
    fn of(bytes: &[u8]) -> Self {
        let beginning = &bytes[..bytes.len().min(8)];
        if pytorch::is_zip(bytes) || pytorch::is_legacy(bytes) {
            Self::PyTorch
        } else if bytes.starts_with(b"version https://git-lfs") {
            Self::LfsPointer
        } else if bytes.trim_ascii_start().starts_with(b"{") && !beginning.contains(&0) {
            // A safetensors file may begin with this byte too, but the length
            // it belongs to ends in zeros, which JSON has none of.
            Self::Index
        } else {
            Self::Safetensors
        }
    }
}
