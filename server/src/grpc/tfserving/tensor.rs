//! From a `TensorProto` to images: strings are image files, numbers of shape
//! `[N, height, width, 3]` are pixels.

use bytes::{Buf, Bytes};
use prost::encoding::decode_varint;

use crate::core::admission::ByteShare;
use crate::core::image::Encoding;
use crate::core::sent::{Sent, Tensor, too_many};
use crate::grpc::proto::tensorflow::{DataType, TensorProto};
use crate::http::inference::malformed;
use crate::http::problem::Problem;

/// Whether the images of a tensor are files, which need no work.
pub(super) fn is_files(tensor: &TensorProto) -> bool {
    tensor.dtype() == DataType::DtString
}

/// The images of a tensor, at most `most`. What is copied is counted in `share`.
///
/// # Errors
/// Another type or shape, more images, values that are no pixels; no memory.
pub(super) fn images(
    tensor: TensorProto,
    most: usize,
    share: &mut ByteShare,
) -> Result<Vec<Sent>, Problem> {
    let shape = shape(&tensor)?;
    let images = match DataType::try_from(tensor.dtype) {
        Ok(DataType::DtString) => files(tensor, shape, most),
        Ok(DataType::DtUint8) => {
            let bytes = match tensor.tensor_content.is_empty() {
                true => integers(tensor.int_val, share)?,
                false => tensor.tensor_content,
            };
            Sent::rgb(&shape.unwrap_or_default(), &bytes, most)
        }
        Ok(DataType::DtInt32) => {
            let values = match tensor.tensor_content.is_empty() {
                true => tensor.int_val,
                false => {
                    share.grow(tensor.tensor_content.len())?;
                    let content = words(&tensor.tensor_content)?;
                    content.iter().copied().map(i32::from_le_bytes).collect()
                }
            };
            let bytes = integers(values, share)?;
            Sent::rgb(&shape.unwrap_or_default(), &bytes, most)
        }
        Ok(DataType::DtFloat) => floats(tensor, shape.unwrap_or_default(), most, share)?,
        found => Err(format!(
            "the tensor is {}; send image files as DT_STRING, or pixels as DT_FLOAT, DT_UINT8 or \
             DT_INT32",
            found.map_or("of an unknown type", |found| found.as_str_name())
        )),
    };
    match images {
        Ok(images) if images.is_empty() => Err(malformed("the tensor has no image".into())),
        images => images.map_err(malformed),
    }
}

/// The dimensions of a tensor, if it has a shape.
fn shape(tensor: &TensorProto) -> Result<Option<Vec<usize>>, Problem> {
    let Some(shape) = &tensor.tensor_shape else {
        return Ok(None);
    };
    let dims = shape.dim.iter().map(|dim| usize::try_from(dim.size).ok());
    match dims.collect::<Option<Vec<_>>>() {
        Some(dims) if !shape.unknown_rank => Ok(Some(dims)),
        _ => Err(malformed(
            "tensor_shape has unknown dimensions; send those of the values".into(),
        )),
    }
}

/// Each string is a file. A tensor without a shape has as many as there are.
fn files(tensor: TensorProto, shape: Option<Vec<usize>>, most: usize) -> Result<Vec<Sent>, String> {
    let of_shape = shape.map(|dims| dims.into_iter().fold(1_usize, usize::saturating_mul));
    let files = match tensor.string_val.is_empty() {
        true => packed(tensor.tensor_content, of_shape.unwrap_or(0), most)?,
        false => tensor.string_val,
    };
    match files.len() {
        0 => Err("the tensor has no image; send the file in string_val".into()),
        count if count > most => Err(too_many(count, most)),
        count if of_shape.is_some_and(|of_shape| of_shape != count) => Err(format!(
            "the tensor has {count} strings, where its shape has {}",
            of_shape.unwrap_or(0)
        )),
        _ => {
            let files = files.into_iter();
            Ok(files.map(|file| Sent::File(file, Encoding::Raw)).collect())
        }
    }
}

/// The strings of `tensor_content`: their lengths, then their bytes.
fn packed(mut content: Bytes, count: usize, most: usize) -> Result<Vec<Bytes>, String> {
    if content.is_empty() {
        return Ok(Vec::new());
    }
    if count > most {
        return Err(too_many(count, most));
    }
    let broken = || "tensor_content does not have the strings of the shape".to_owned();
    let length = |_| decode_varint(&mut content).ok().map(usize::try_from);
    let lengths = (0..count)
        .map(length)
        .collect::<Option<Result<Vec<_>, _>>>();
    let lengths = lengths.ok_or_else(broken)?.map_err(|_| broken())?;
    let mut take = |length: usize| (length <= content.len()).then(|| content.split_to(length));
    let strings = lengths.into_iter().map(&mut take);
    let strings = strings.collect::<Option<Vec<_>>>().ok_or_else(broken)?;
    match content.has_remaining() {
        true => Err(broken()),
        false => Ok(strings),
    }
}

/// Integers as bytes.
fn integers(values: Vec<i32>, share: &mut ByteShare) -> Result<Bytes, Problem> {
    share.grow(values.len())?;
    let bytes = values.into_iter().map(u8::try_from);
    let bytes = bytes.collect::<Result<Vec<u8>, _>>();
    bytes
        .map(Bytes::from)
        .map_err(|_| malformed("pixels have values that are not from 0 to 255".into()))
}

fn floats(
    tensor: TensorProto,
    shape: Vec<usize>,
    most: usize,
    share: &mut ByteShare,
) -> Result<Result<Vec<Sent>, String>, Problem> {
    let values = match tensor.tensor_content.is_empty() {
        true => tensor.float_val,
        false => {
            share.grow(tensor.tensor_content.len())?;
            let content = words(&tensor.tensor_content)?;
            content.iter().copied().map(f32::from_le_bytes).collect()
        }
    };
    // A byte for each.
    share.grow(values.len())?;
    let tensor = Tensor {
        shape,
        values,
        has_fractions: true,
    };
    Ok(Sent::pixels(tensor, most))
}

/// Numbers of 32 bits.
fn words(content: &[u8]) -> Result<&[[u8; 4]], Problem> {
    match content.as_chunks() {
        (words, []) => Ok(words),
        _ => Err(malformed(format!(
            "tensor_content has {} bytes, which is no multiple of 4",
            content.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_follow_their_lengths() {
        let strings = |content: &'static [u8], count| packed(Bytes::from_static(content), count, 2);
        assert_eq!(strings(b"\x02\x01abc", 2).unwrap(), ["ab", "c"]);
        assert_eq!(strings(b"\x00", 1).unwrap(), [""]);
        assert!(strings(b"", 5).unwrap().is_empty());
        for (content, count) in [
            (&b"\x02\x01ab"[..], 2),
            (b"\x02\x01abcd", 2),
            (b"\x02", 2),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 1),
            (b"\x01\x01\x01abc", 3),
        ] {
            assert!(strings(content, count).is_err(), "{content:?}");
        }
    }
}
