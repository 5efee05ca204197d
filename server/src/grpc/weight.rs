//! Estimates the memory of a message before it is parsed: a small message can contain
//! very many empty fields.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// What one field takes, at most, besides its bytes: the largest message, in a list
/// that has room for as many again.
const FIELD: usize = 2 * 192;

/// What one byte of a list of numbers takes, at most: a number of 64 bits, in a list
/// that has room for as many again.
const NUMBERS: usize = 16;

/// The same for the numbers of an image, which have 32 bits: an integer of one byte,
/// and a float of four.
const INTEGERS: usize = 8;
const FLOATS: usize = 2;

/// Messages nested deeper than this are broken, see the parser.
const DEPTH: usize = 32;

/// The path of a field: the numbers of the fields that contain it, and its own.
pub(super) type Path = &'static [u32];

/// The fields of a message that contain images.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// Bytes, which are not copied.
    pub(super) bytes: &'static [Path],
    /// Lists of integers of 32 bits.
    pub(super) integers: &'static [Path],
    /// Lists of floats of 32 bits.
    pub(super) floats: &'static [Path],
}

/// The memory of a message, or `None` if it is more than `most`. Of a message that
/// is broken, the memory of the fields before the error.
pub(super) fn weight(message: &[u8], fields: &Fields, most: usize) -> Option<usize> {
    let mut weight = Weight { total: 0, most };
    let of = |paths: &'static [Path], factor| paths.iter().map(move |path| (*path, factor));
    let known: Vec<Known> = of(fields.bytes, 0)
        .chain(of(fields.integers, INTEGERS))
        .chain(of(fields.floats, FLOATS))
        .collect();
    weight.add(message, &known, DEPTH)?;
    Some(weight.total)
}

/// A field, and what one of its bytes takes.
type Known = (Path, usize);

struct Weight {
    total: usize,
    most: usize,
}

impl Weight {
    fn grow(&mut self, more: usize) -> Option<()> {
        self.total = self.total.saturating_add(more);
        (self.total <= self.most).then_some(())
    }

    fn add(&mut self, mut message: &[u8], known: &[Known], depth: usize) -> Option<()> {
        while let Some((number, content)) = next_field(&mut message) {
            self.grow(FIELD)?;
            let inner = known
                .iter()
                .filter_map(|(path, factor)| Some((path.strip_prefix(&[number])?, *factor)));
            let inner: Vec<Known> = inner.collect();
            if let Some((_, factor)) = inner.iter().find(|(path, _)| path.is_empty()) {
                self.grow(content.len().saturating_mul(*factor))?;
                continue;
            }
            if inner.is_empty() {
                self.grow(content.len().saturating_mul(NUMBERS))?;
            }
            if depth > 0 {
                self.add(content, &inner, depth - 1)?;
            }
        }
        Some(())
    }
}

/// Takes the next field from a message; `None` at the end, or if it is broken.
fn next_field<'a>(message: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    if message.is_empty() {
        return None;
    }
    let (number, wire_type) = decode_key(message).ok()?;
    let length = match wire_type {
        WireType::Varint => return decode_varint(message).ok().map(|_| (number, &[][..])),
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(message).ok()?).ok()?,
        // The parser skips groups and reads on.
        WireType::StartGroup => {
            skip_field(wire_type, number, message, DecodeContext::default()).ok()?;
            return Some((number, &[]));
        }
        WireType::EndGroup => return None,
    };
    let content = message.get(..length)?;
    message.advance(length);
    match wire_type {
        WireType::LengthDelimited => Some((number, content)),
        _ => Some((number, &[])),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::grpc::inference::infer::FIELDS;
    use crate::grpc::proto::inference::model_infer_request::InferInputTensor;
    use crate::grpc::proto::inference::{InferTensorContents, ModelInferRequest};

    fn of(request: &ModelInferRequest) -> usize {
        weight(&request.encode_to_vec(), &FIELDS, usize::MAX).unwrap()
    }

    #[test]
    fn bytes_that_are_not_copied_have_no_weight_and_empty_fields_have_one() {
        let image = ModelInferRequest {
            model_name: "m".into(),
            inputs: vec![InferInputTensor::default()],
            // The start of a message of the same type.
            raw_input_contents: vec![[0x2a, 0].repeat(1 << 20).into()],
            ..Default::default()
        };
        assert!(of(&image) < 2000, "{}", of(&image));
        let many = ModelInferRequest {
            inputs: vec![InferInputTensor::default(); 1000],
            ..Default::default()
        };
        assert!(of(&many) >= 1000 * size_of::<InferInputTensor>());
        let nested = ModelInferRequest {
            inputs: vec![InferInputTensor {
                shape: vec![0; 1000],
                ..Default::default()
            }],
            ..Default::default()
        };
        assert!(of(&nested) >= 1000 * size_of::<i64>());
        // What one image takes does not depend on its values.
        let of_values = |value: u8| {
            of(&ModelInferRequest {
                inputs: vec![InferInputTensor {
                    contents: Some(InferTensorContents {
                        uint_contents: vec![value.into(); 1000],
                        fp32_contents: vec![f32::from_le_bytes([value; 4]); 1000],
                        ..Default::default()
                    }),
                    ..Default::default()
                }],
                ..Default::default()
            })
        };
        let zeros = of_values(0);
        assert!((16_000..18_000).contains(&zeros), "{zeros}");
        assert_eq!(of_values(8), zeros);
        assert_eq!(weight(&many.encode_to_vec(), &FIELDS, 100_000), None);
        // An empty group, which the parser skips.
        let after_group = [&[0x7b, 0x7c], &many.encode_to_vec()[..]].concat();
        assert!(weight(&after_group, &FIELDS, usize::MAX).unwrap() > of(&many));
        // The parser reports what is broken.
        assert_eq!(weight(b"\x0a\xff", &FIELDS, 1000), Some(0));
    }
}
