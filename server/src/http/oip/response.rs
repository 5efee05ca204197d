//! The body of an inference response: JSON, which binary tensors may follow; and
//! its compression.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::Serialize;

use crate::oip::outputs::{OutputData, OutputTensor};
use crate::oip::tensor::Datatype;

/// Bytes of a value, and of everything else of a tensor, as JSON at most.
const VALUE_BYTES: usize = 32;
const TENSOR_BYTES: usize = 1024;

/// What a response says besides its tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) version: &'a str,
}

/// A body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InferBody {
    pub(super) bytes: Vec<u8>,
    /// The length of the JSON, if binary tensors follow it.
    pub(super) header: Option<usize>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    model_name: &'a str,
    model_version: &'a str,
    outputs: Vec<OutputDocument<'a>>,
}

#[derive(Serialize)]
struct OutputDocument<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Floats(&'a [f32]),
    Strings(&'a [String]),
}

/// The bytes that a response takes, at most, in all its forms.
pub(super) fn memory(outputs: &[OutputTensor]) -> usize {
    let memory = |output: &OutputTensor| match &output.data {
        OutputData::Floats(values) => values.len() * VALUE_BYTES,
        OutputData::Strings(texts) => texts.iter().map(|text| 2 * text.len() + VALUE_BYTES).sum(),
    };
    outputs
        .iter()
        .map(|output| TENSOR_BYTES + memory(output))
        .sum()
}

/// The body of a response.
///
/// # Errors
/// None in practice.
pub(super) fn body(head: Head<'_>, outputs: &[OutputTensor]) -> serde_json::Result<InferBody> {
    let raw: Vec<Option<Vec<u8>>> = outputs
        .iter()
        .map(|output| output.binary.then(|| output.data.to_raw()))
        .collect();
    let documents = outputs
        .iter()
        .zip(&raw)
        .map(|(output, raw)| OutputDocument {
            name: output.name,
            datatype: output.data.datatype(),
            shape: &output.shape,
            parameters: raw.as_ref().map(|raw| BinarySize {
                binary_data_size: raw.len(),
            }),
            data: raw.is_none().then(|| match &output.data {
                OutputData::Floats(values) => Data::Floats(values),
                OutputData::Strings(texts) => Data::Strings(texts),
            }),
        });
    let mut bytes = serde_json::to_vec(&Document {
        id: head.id,
        model_name: head.model,
        model_version: head.version,
        outputs: documents.collect(),
    })?;
    let length = bytes.len();
    let is_binary = raw.iter().any(Option::is_some);
    bytes.extend(raw.into_iter().flatten().flatten());
    Ok(InferBody {
        bytes,
        header: is_binary.then_some(length),
    })
}

/// A compression of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// The format of RFC 1950.
    Deflate,
}

impl Coding {
    /// The one that the client prefers, by the value of `Accept-Encoding`.
    pub(super) fn preferred(accepted: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in accepted.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = match parts.next().unwrap_or_default() {
                name if name.eq_ignore_ascii_case("gzip") => Self::Gzip,
                name if name.eq_ignore_ascii_case("deflate") => Self::Deflate,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let quality: f32 = quality.unwrap_or(1.0);
            if quality > best.map_or(0.0, |(quality, _)| quality) {
                best = Some((quality, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    /// Its name in headers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Compresses a body.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let level = Compression::fast();
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(binary: [bool; 2]) -> [OutputTensor; 2] {
        [
            OutputTensor {
                name: "logits",
                shape: vec![1, 2],
                data: OutputData::Floats(vec![0.1, -2.0]),
                binary: binary[0],
            },
            OutputTensor {
                name: "probabilities",
                shape: vec![1, 1],
                data: OutputData::Strings(vec!["0.900000:0:cat".into()]),
                binary: binary[1],
            },
        ]
    }

    const HEAD: Head<'_> = Head {
        id: Some("7"),
        model: "m",
        version: "1",
    };

    #[test]
    fn keys_keep_their_order_and_floats_are_short() {
        let json = body(HEAD, &outputs([false; 2])).unwrap();
        assert_eq!(json.header, None);
        assert_eq!(
            String::from_utf8(json.bytes).unwrap(),
            r#"{"id":"7","model_name":"m","model_version":"1","outputs":[{"name":"logits","datatype":"FP32","shape":[1,2],"data":[0.1,-2.0]},{"name":"probabilities","datatype":"BYTES","shape":[1,1],"data":["0.900000:0:cat"]}]}"#
        );
    }

    #[test]
    fn binary_tensors_follow_the_json_in_their_order() {
        let head = Head { id: None, ..HEAD };
        let mixed = body(head, &outputs([true, false])).unwrap();
        let (json, binary) = mixed.bytes.split_at(mixed.header.unwrap());
        assert_eq!(
            str::from_utf8(json).unwrap(),
            r#"{"model_name":"m","model_version":"1","outputs":[{"name":"logits","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}},{"name":"probabilities","datatype":"BYTES","shape":[1,1],"data":["0.900000:0:cat"]}]}"#
        );
        assert_eq!(
            binary,
            [0.1_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat()
        );
        let both = body(HEAD, &outputs([true, true])).unwrap();
        assert!(both.bytes.ends_with(b"\x0e\0\0\x000.900000:0:cat"));
        assert!(both.bytes.len() <= memory(&outputs([true, true])));
    }

    #[test]
    fn the_client_chooses_the_compression() {
        for (accepted, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip", Some(Coding::Deflate)),
            ("deflate;q=0.5, GZIP;q=0.8, br", Some(Coding::Gzip)),
            ("gzip;q=0, identity", None),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(Coding::preferred(accepted), expected, "{accepted}");
        }
        let text = b"logits ".repeat(100);
        for coding in [Coding::Gzip, Coding::Deflate] {
            let encoded = coding.encode(&text).unwrap();
            let mut decoded = Vec::new();
            let read = match coding {
                Coding::Gzip => io::copy(
                    &mut flate2::read::GzDecoder::new(&encoded[..]),
                    &mut decoded,
                ),
                Coding::Deflate => io::copy(
                    &mut flate2::read::ZlibDecoder::new(&encoded[..]),
                    &mut decoded,
                ),
            };
            assert_eq!(read.unwrap(), 700);
            assert_eq!(decoded, text);
        }
    }
}
