//! Tensors as the protocol carries them.

use bytes::Bytes;
use serde::Serialize;

use super::failure::Failure;
use crate::core::image::Encoding;

/// The type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the protocol's names say what each one is")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    const NAMES: [(&'static str, Self); 14] = [
        ("BOOL", Self::Bool),
        ("UINT8", Self::Uint8),
        ("UINT16", Self::Uint16),
        ("UINT32", Self::Uint32),
        ("UINT64", Self::Uint64),
        ("INT8", Self::Int8),
        ("INT16", Self::Int16),
        ("INT32", Self::Int32),
        ("INT64", Self::Int64),
        ("FP16", Self::Fp16),
        ("BF16", Self::Bf16),
        ("FP32", Self::Fp32),
        ("FP64", Self::Fp64),
        ("BYTES", Self::Bytes),
    ];

    /// The type of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names
            .find(|(other, _)| *other == name)
            .map(|(_, found)| found)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.into_iter();
        names
            .find(|(_, other)| *other == self)
            .map_or("", |(name, _)| name)
    }

    /// Bytes of an element; `None` where it depends on the element.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

/// A tensor of a request.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Its name. Any is accepted, as there is only one input.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions; a negative one is any size.
    pub shape: Vec<i64>,
    /// Its elements.
    pub data: TensorData,
}

/// The elements of a tensor, in row-major order.
#[derive(Clone, Debug)]
pub enum TensorData {
    /// Little-endian. Each element of a BYTES tensor follows its length, a u32.
    Raw(Bytes),
    /// The elements of a BYTES tensor.
    Elements(Vec<Bytes>, Encoding),
}

/// Elements of a BYTES tensor, at most.
const MOST_ELEMENTS: usize = 1 << 16;

impl InputTensor {
    /// The elements of a BYTES tensor.
    ///
    /// # Errors
    /// Lengths that do not add up to the data; more elements than any request may
    /// have.
    pub fn elements(&self) -> Result<(Vec<Bytes>, Encoding), Failure> {
        let raw = match &self.data {
            TensorData::Elements(elements, encoding) => return Ok((elements.clone(), *encoding)),
            TensorData::Raw(raw) => raw,
        };
        let mut elements = Vec::new();
        let mut rest = raw.clone();
        while !rest.is_empty() {
            if elements.len() == MOST_ELEMENTS {
                return Err(Failure::Invalid(format!(
                    "inference input '{}': the tensor has more than {MOST_ELEMENTS} elements",
                    self.name
                )));
            }
            let length = rest.split_first_chunk::<4>();
            let length = length.map(|(length, _)| u32::from_le_bytes(*length) as usize);
            let end = length.and_then(|length| length.checked_add(4));
            match end {
                Some(end) if end <= rest.len() => {
                    elements.push(rest.slice(4..end));
                    rest = rest.slice(end..);
                }
                _ => {
                    return Err(Failure::Invalid(format!(
                        "incomplete string length or data for inference input '{}': element {} \
                         of {} bytes does not fit the {} bytes that are left",
                        self.name,
                        elements.len(),
                        length.map_or("unknown".to_owned(), |length| length.to_string()),
                        rest.len(),
                    )));
                }
            }
        }
        Ok((elements, Encoding::Raw))
    }
}

/// A shape as the protocol's errors print it: `[-1,224,224,3]`.
#[must_use]
pub fn shape_text(shape: &[i64]) -> String {
    let dims: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_names() {
        for (name, datatype) in Datatype::NAMES {
            assert_eq!(Datatype::find(name), Some(datatype));
            assert_eq!(datatype.name(), name);
            assert_eq!(serde_json::to_value(datatype).unwrap(), name);
        }
        assert_eq!(Datatype::find("uint8"), None);
    }

    #[test]
    fn elements_follow_their_lengths() {
        let elements = |raw: &[u8]| {
            let tensor = InputTensor {
                name: "x".into(),
                datatype: Datatype::Bytes,
                shape: vec![-1],
                data: TensorData::Raw(Bytes::copy_from_slice(raw)),
            };
            tensor.elements().map(|(elements, _)| elements)
        };
        assert!(elements(b"").unwrap().is_empty());
        let found = elements(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c").unwrap();
        assert_eq!(found, [&b"ab"[..], b"", b"c"]);
        for wrong in [&b"\x02\0\0\0a"[..], b"\x01\0\0", b"\xff\xff\xff\xffabc"] {
            assert!(elements(wrong).is_err(), "{wrong:?}");
        }
        let many = vec![0; 4 * MOST_ELEMENTS];
        assert_eq!(elements(&many).unwrap().len(), MOST_ELEMENTS);
        let error = elements(&[many, vec![0; 4]].concat()).unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("more than 65536 elements"), "{text}");
    }
}
