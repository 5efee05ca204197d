//! The files of `torch.save`: a zip archive with a pickle that describes the
//! tensors and an uncompressed entry for each storage or, before PyTorch 1.6,
//! a sequence of pickles and storages.
//!
//! Tensors are read in place. Compressed entries are rejected: PyTorch writes
//! none, and a small one could expand to any size.

mod legacy;
mod pickle;
mod qtensor;
mod state_dict;
mod view;

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, Result};
use crate::pytorch::pickle::{Pickle, Reason};
use crate::pytorch::qtensor::Constant;
use crate::tensor::Tensor;

/// Most entries of an archive: one for each storage and a few more.
const MAX_ENTRIES: usize = 100_000;

/// Whether these are the bytes of a `torch.save` zip archive.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Whether these are the bytes of a file in the format before PyTorch 1.6.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&legacy::MAGIC)
}

/// The tensors of a file in either format, and a note about which they are if the
/// file has several sets.
pub(crate) fn parse(origin: &str, bytes: &[u8]) -> Result<(Vec<Tensor>, Option<String>)> {
    let tensors = if is_zip(bytes) {
        archive(bytes)
    } else {
        legacy::tensors(bytes)
    };
    tensors.map_err(|reason| Error::malformed(origin, reason))
}

fn archive(bytes: &[u8]) -> std::result::Result<(Vec<Tensor>, Option<String>), Reason> {
    let archive = Archive::open(bytes)?;
    let pickles = archive.entries.keys();
    let pickles = pickles.filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(name) = pickles.min_by_key(|name| (name.len(), *name)) else {
        return Err(archive.kind().into());
    };
    let folder = name.trim_end_matches("data.pkl");
    if archive
        .entries
        .contains_key(&format!("{folder}constants.pkl"))
    {
        return Err("it is a TorchScript program; save the model's `state_dict()` instead".into());
    }
    let entry = |name: &str| archive.stored(&format!("{folder}{name}"));
    if entry("byteorder").is_ok_and(|range| &bytes[range] != b"little") {
        return Err("its byte order is big-endian; only little-endian files are supported".into());
    }
    let (pickle, _) = Pickle::parse(&bytes[entry("data.pkl")?])?;
    let (views, note) = state_dict::views(&pickle)?;
    let tensors = views.stored.into_iter().map(|view| {
        let range = entry(&format!("data/{}", view.storage.key))?;
        if view.storage.bytes()? > range.len() {
            return Err(format!(
                "the storage of tensor `{}` has {} bytes, too few for {} elements",
                view.name,
                range.len(),
                view.storage.elements
            ));
        }
        view.at(range.start)
    });
    let mut tensors = tensors.collect::<std::result::Result<Vec<_>, _>>()?;
    tensors.extend(views.constants.into_iter().map(Constant::tensor));
    Ok((tensors, note))
}

/// The byte ranges of the entries of a zip archive.
struct Archive {
    /// `None` for an entry that is compressed, encrypted or truncated.
    entries: HashMap<String, Option<Range<usize>>>,
}

impl Archive {
    fn open(bytes: &[u8]) -> std::result::Result<Self, Reason> {
        let broken = |e: ZipError| format!("its zip directory is broken: {e}");
        // The archive begins with the file. By default, the reader looks for the
        // beginning, and takes a wrong one if the directory has certain lengths.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut archive = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(broken)?;
        if archive.len() > MAX_ENTRIES || archive.has_duplicate_names() {
            return Err(
                "its zip directory has a duplicate entry or more than 100000 entries".into(),
            );
        }
        if archive.has_overlapping_entries().map_err(broken)? {
            return Err("entries of its zip directory overlap".into());
        }
        let mut entries = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            let stored = entry.compression() == CompressionMethod::Stored
                && !entry.encrypted()
                && entry.size() == entry.compressed_size();
            let range = entry.data_start().zip(
                entry
                    .data_start()
                    .and_then(|start| start.checked_add(entry.size())),
            );
            let range = range.and_then(|(start, end)| {
                Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
            });
            entries.insert(
                name,
                range.filter(|range| stored && range.end <= bytes.len()),
            );
        }
        Ok(Self { entries })
    }

    /// What an archive without `data.pkl` is.
    fn kind(&self) -> &'static str {
        let has = |ending: &str| self.entries.keys().any(|name| name.ends_with(ending));
        if has(".npy") {
            "it is an archive of NumPy arrays; save a state dict with `torch.save` or as safetensors"
        } else if has(".weights.h5") {
            "it is a Keras model; only PyTorch and safetensors checkpoints are supported"
        } else if has("MAR-INF/MANIFEST.json") {
            "it is a model archive of TorchServe; extract it and pass the checkpoint in it"
        } else {
            "it is a zip archive without `data.pkl`, so it was not written by `torch.save`"
        }
    }

    /// The byte range of an uncompressed entry.
    fn stored(&self, name: &str) -> std::result::Result<Range<usize>, Reason> {
        match self.entries.get(name) {
            Some(Some(range)) => Ok(range.clone()),
            Some(None) => Err(format!(
                "its entry {name:?} is compressed or truncated; save the file again with `torch.save`"
            )),
            None => Err(format!("its entry {name:?} is missing")),
        }
    }
}
