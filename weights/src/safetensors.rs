//! The safetensors format: an 8-byte length, a JSON header with the dtype, the
//! shape and the byte range of every tensor, then the bytes. The header is not
//! trusted: each tensor must begin where the one before it ends, its size must
//! match its shape, and the last must end at the end of the file.
//!
//! <https://huggingface.co/docs/safetensors>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ::safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::tensor::{Location, Tensor, Values};

/// Largest header in bytes; a thousand layers need less than a tenth of it.
const MAX_HEADER_BYTES: u64 = 8 << 20;

/// The tensors and the metadata of a safetensors file.
pub(crate) fn parse(origin: &str, bytes: &[u8]) -> Result<(Vec<Tensor>, BTreeMap<String, String>)> {
    let (header, base) = header(bytes).map_err(|reason| Error::malformed(origin, reason))?;
    check_contiguous(&header.tensors, bytes.len() - base)
        .map_err(|reason| Error::malformed(origin, reason))?;
    let tensors = header.tensors.into_iter().map(|(name, info)| Tensor {
        name,
        dtype: info.dtype,
        shape: info.shape,
        values: Values::Stored(Location {
            file: 0,
            range: base + info.data_offsets.0..base + info.data_offsets.1,
            strides: None,
        }),
    });
    Ok((tensors.collect(), header.metadata))
}

/// Parses the header. Its tensors are sorted by offset. Also returns the
/// position of the first tensor's bytes.
fn header(bytes: &[u8]) -> std::result::Result<(Header, usize), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!(
            "it has {} bytes, too few for a checkpoint",
            bytes.len()
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "it is neither a PyTorch file nor an index, and as a safetensors file its header would have {length} bytes; at most {MAX_HEADER_BYTES} are supported"
        ));
    }
    if length > rest.len() as u64 {
        return Err(format!(
            "it is truncated: its header has {length} bytes and the file {}",
            bytes.len()
        ));
    }
    let header = &rest[..length as usize];
    let text = str::from_utf8(header).map_err(|e| format!("its header is not UTF-8: {e}"))?;
    let mut header: Header = serde_json::from_str(text)
        .map_err(|e| format!("its header is not a safetensors header: {e}"))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    Ok((header, 8 + length as usize))
}

/// Checks that the tensors, sorted by offset, cover `length` bytes without gaps.
fn check_contiguous(
    tensors: &[(String, TensorInfo)],
    length: usize,
) -> std::result::Result<(), String> {
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
                "there is a gap of {} bytes before tensor `{name}`",
                from - end
            ));
        }
        let bits = info
            .shape
            .iter()
            .try_fold(info.dtype.bitsize(), |bits, n| bits.checked_mul(*n));
        let Some(bits) = bits else {
            return Err(format!(
                "tensor `{name}` has the shape {:?}, whose size overflows",
                info.shape
            ));
        };
        if to < from || (to - from).checked_mul(8) != Some(bits) {
            return Err(format!(
                "the size of tensor `{name}` with dtype {} and shape {:?} does not match its bytes {from} to {to}",
                info.dtype, info.shape
            ));
        }
        end = to;
    }
    match length.cmp(&end) {
        std::cmp::Ordering::Less => Err(format!(
            "it is truncated: it has {length} bytes of tensors, its header describes {end}"
        )),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(format!(
            "there are {} bytes after the last tensor",
            length - end
        )),
    }
}

/// The content of the JSON header.
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

/// Reads the object entry by entry: deserializing to a map would silently keep
/// only the last of two tensors with the same name.
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
            let reason = |e| de::Error::custom(format!("in `{name}`: {e}"));
            if name == "__metadata__" {
                metadata = map.next_value().map_err(reason)?;
            } else {
                let info = map.next_value().map_err(reason)?;
                tensors.push((name, info));
            }
        }
        Ok(Header { metadata, tensors })
    }
}
