//! The safetensors format: an 8-byte length, a JSON header that names every
//! tensor's type, shape and bytes, then the bytes. The header is a claim by a
//! stranger: each tensor must begin where the one before it ends, hold what
//! its shape says, and the last must end with the file.
//!
//! <https://huggingface.co/docs/safetensors>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ::safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::tensor::{Place, Tensor, Values};

/// A thousand layers need less than a tenth of this.
const LONGEST_HEADER: u64 = 8 << 20;

/// The tensors and the metadata of a safetensors file.
pub(crate) fn parse(origin: &str, bytes: &[u8]) -> Result<(Vec<Tensor>, BTreeMap<String, String>)> {
    let (header, base) = header(bytes).map_err(|fault| Error::malformed(origin, fault))?;
    contiguous(&header.tensors, bytes.len() - base)
        .map_err(|fault| Error::malformed(origin, fault))?;
    let tensors = header.tensors.into_iter().map(|(name, info)| Tensor {
        name,
        dtype: info.dtype,
        shape: info.shape,
        values: Values::Stored(Place {
            file: 0,
            range: base + info.data_offsets.0..base + info.data_offsets.1,
            strides: None,
        }),
    });
    Ok((tensors.collect(), header.metadata))
}

/// The header, its tensors in the order of their bytes, and where those begin.
fn header(bytes: &[u8]) -> std::result::Result<(Header, usize), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!(
            "{} bytes are too few for any checkpoint",
            bytes.len()
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER {
        return Err(format!(
            "it is neither a safetensors file (its header would be {length} bytes long), nor PyTorch's, nor an index"
        ));
    }
    if length > rest.len() as u64 {
        return Err(format!(
            "it is truncated: a header of {length} bytes in a file of {}",
            bytes.len()
        ));
    }
    let header = &rest[..length as usize];
    let text = str::from_utf8(header).map_err(|e| format!("its header is not UTF-8: {e}"))?;
    let mut header: Header = serde_json::from_str(text)
        .map_err(|e| format!("its header is not what safetensors prescribes: {e}"))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    Ok((header, 8 + length as usize))
}

/// Checks that the tensors, in order, cover `length` bytes exactly.
fn contiguous(tensors: &[(String, TensorInfo)], length: usize) -> std::result::Result<(), String> {
    let mut end = 0;
    for (name, info) in tensors {
        let (from, to) = info.data_offsets;
        if from < end {
            return Err(format!(
                "tensor `{name}` overlaps the one before it at byte {from} of the data"
            ));
        }
        if from > end {
            return Err(format!(
                "{} bytes before tensor `{name}` belong to no tensor",
                from - end
            ));
        }
        let bits = info
            .shape
            .iter()
            .try_fold(info.dtype.bitsize(), |bits, n| bits.checked_mul(*n));
        let Some(bits) = bits else {
            return Err(format!(
                "tensor `{name}` has an impossible shape, {:?}",
                info.shape
            ));
        };
        if to < from || (to - from).checked_mul(8) != Some(bits) {
            return Err(format!(
                "tensor `{name}` of type {} and shape {:?} cannot lie in bytes {from} to {to}",
                info.dtype, info.shape
            ));
        }
        end = to;
    }
    match length.cmp(&end) {
        std::cmp::Ordering::Less => Err(format!(
            "it is truncated: {length} bytes of tensors where its header promises {end}"
        )),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(format!("{} bytes after the last tensor", length - end)),
    }
}

/// What the JSON header holds.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: de::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the header's object entry by entry, because a map would quietly
/// keep the last of two tensors with the same name.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that maps names to tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut names = BTreeSet::new();
        let mut metadata = BTreeMap::new();
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format!("`{name}` occurs twice")));
            }
            let fault = |e| de::Error::custom(format!("in `{name}`: {e}"));
            if name == "__metadata__" {
                metadata = map.next_value().map_err(fault)?;
            } else {
                let info = map.next_value().map_err(fault)?;
                tensors.push((name, info));
            }
        }
        Ok(Header { metadata, tensors })
    }
}
