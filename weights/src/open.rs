//! Opens the files of a checkpoint: detects the format from the content, not
//! from the file name, and collects the tensors of all shards.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bytes::{Access, Bytes};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::tensor::{Tensor, Values};
use crate::{pytorch, safetensors, sharded};

/// More than enough bytes to detect a format.
const FORMAT_BYTES: u64 = 4096;

/// The files of a checkpoint: their headers are parsed, their tensors not read.
pub(crate) struct Opened {
    pub(crate) files: Vec<Bytes>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) metadata: Metadata,
    /// Which tensors these are, if a file has several sets.
    pub(crate) notes: Vec<String>,
}

/// The format of a file, detected from its first bytes.
enum Format {
    Safetensors,
    PyTorch,
    Index,
    LfsPointer,
    /// Another format, and what to do about it.
    Foreign(&'static str),
}

impl Opened {
    /// Opens a checkpoint in one file, or the index of a checkpoint in several.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self> {
        let bytes = Bytes::open(path, access)?;
        match Format::of(&bytes) {
            Format::Index => Self::shards(path, &bytes, access),
            _ => Self::one_file(&path.display().to_string(), bytes),
        }
    }

    /// Parses a file that holds tensors.
    pub(crate) fn one_file(origin: &str, bytes: Bytes) -> Result<Self> {
        let mut notes = Vec::new();
        let (tensors, metadata) = match Format::of(&bytes) {
            Format::Safetensors => safetensors::parse(origin, &bytes)?,
            Format::PyTorch => {
                let (tensors, note) = pytorch::parse(origin, &bytes)?;
                notes.extend(note);
                (tensors, BTreeMap::new())
            }
            Format::Index => {
                return Err(Error::malformed(
                    origin,
                    "it is an index of shards, not a file with tensors",
                ));
            }
            Format::LfsPointer => {
                return Err(Error::malformed(
                    origin,
                    "it is a Git LFS pointer to the weights; fetch them with `git lfs pull`",
                ));
            }
            Format::Foreign(reason) => return Err(Error::malformed(origin, reason)),
        };
        let metadata = Metadata::parse(origin, &metadata)?;
        Ok(Self {
            files: vec![bytes],
            tensors,
            metadata,
            notes,
        })
    }

    /// Opens every file that the index at `path` names, in the same folder.
    fn shards(path: &Path, index: &[u8], access: Access) -> Result<Self> {
        let origin = path.display().to_string();
        let mut all = Self {
            files: Vec::new(),
            tensors: Vec::new(),
            metadata: Metadata::default(),
            notes: Vec::new(),
        };
        for (file, tensors) in sharded::shards(&origin, index)? {
            let shard = path.with_file_name(&file);
            let shard = Self::one_file(&shard.display().to_string(), Bytes::open(&shard, access)?)?;
            let names = shard.tensors.iter().map(|tensor| tensor.name.as_str());
            let names: HashSet<&str> = names.collect();
            if let Some(absent) = tensors.iter().find(|name| !names.contains(name.as_str())) {
                let reason = format!(
                    "its index lists tensor `{absent}` in {file}, which has no such tensor"
                );
                return Err(Error::malformed(&origin, reason));
            }
            all.notes.extend(shard.notes.iter().cloned());
            all.add(shard);
        }
        all.notes.sort_unstable();
        all.notes.dedup();
        Ok(all)
    }

    /// Adds the files and tensors of `other`, without its metadata.
    fn add(&mut self, other: Self) {
        let before = self.files.len();
        self.files.extend(other.files);
        for mut tensor in other.tensors {
            if let Values::Stored(stored) = &mut tensor.values {
                stored.file += before;
            }
            self.tensors.push(tensor);
        }
    }
}

/// All files that the checkpoint at `path` consists of: `path` itself and, if it
/// is an index, the files it names.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(read)?.is_file() {
        return Err(read(io::Error::other("not a regular file")));
    }
    let mut beginning = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(FORMAT_BYTES)
        .read_to_end(&mut beginning)
        .map_err(read)?;
    let mut files = vec![path.to_owned()];
    if matches!(Format::of(&beginning), Format::Index) {
        let shards = sharded::files(path)?.into_iter();
        files.extend(shards.map(|shard| path.with_file_name(shard)));
    }
    Ok(files)
}

impl Format {
    fn of(bytes: &[u8]) -> Self {
        let beginning = &bytes[..bytes.len().min(8)];
        if pytorch::is_zip(bytes) || pytorch::is_legacy(bytes) {
            Self::PyTorch
        } else if bytes.starts_with(b"version https://git-lfs") {
            Self::LfsPointer
        } else if bytes.trim_ascii_start().starts_with(b"{") && !beginning.contains(&0) {
            // The length at the beginning of a safetensors file may start with
            // the byte of `{`, but it contains zero bytes, and JSON does not.
            Self::Index
        } else if let Some(reason) = foreign(bytes) {
            Self::Foreign(reason)
        } else {
            Self::Safetensors
        }
    }
}

/// What to do with a file of a format that is not supported, by its first bytes.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    // The length at the beginning of a safetensors file can look like any of
    // these; the JSON after it cannot.
    if bytes.get(8) == Some(&b'{') {
        return None;
    }
    let text = bytes.trim_ascii_start();
    let is_html = |start: &[u8]| {
        text.get(..start.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(start))
    };
    // ONNX: field 1, the version of the format, then the producer or the graph
    let is_onnx = matches!(bytes, [0x08, 1..=20, 0x12 | 0x3a | 0x42, ..]);
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        Some(
            "it is an HDF5 file, as Keras writes them; only PyTorch and safetensors checkpoints are supported",
        )
    } else if bytes.starts_with(b"\x1f\x8b") {
        Some("it is compressed with gzip; decompress it with `gunzip`")
    } else if bytes.get(257..262) == Some(b"ustar") {
        Some("it is a tar archive; extract it and pass the checkpoint in it")
    } else if is_html(b"<!doctype html") || is_html(b"<html") {
        Some("it is a web page, not a checkpoint; the download returned an error or a login page")
    } else if is_onnx {
        Some(
            "it is an ONNX model; pass the PyTorch or safetensors checkpoint that it was exported from",
        )
    } else if bytes.starts_with(b"\x80") && bytes.get(1).is_some_and(|version| *version <= 5) {
        Some(
            "it is a Python pickle that was not written by `torch.save`; save the `state_dict()` with `torch.save`",
        )
    } else {
        None
    }
}
