//! The format of `torch.save` before PyTorch 1.6: five pickles (a magic number,
//! a version, system information, the object, the keys of the storages), then
//! each storage as its length and its elements.

use std::collections::HashMap;

use crate::pytorch::pickle::{Object, Pickle, Reason};
use crate::pytorch::qtensor::Constant;
use crate::pytorch::state_dict;
use crate::pytorch::view::{Storage, storages};
use crate::tensor::Tensor;

/// The first pickle: protocol 2, the ten bytes of 0x1950a86a20f9469cfc6c, stop.
pub(super) const MAGIC: [u8; 15] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
];

pub(super) fn tensors(bytes: &[u8]) -> Result<(Vec<Tensor>, Option<String>), Reason> {
    let (_, rest) = Pickle::parse(&bytes[MAGIC.len()..])?; // version
    let (_, rest) = Pickle::parse(rest)?; // system information
    let (object, rest) = Pickle::parse(rest)?;
    let (keys, rest) = Pickle::parse(rest)?;
    let (views, note) = state_dict::views(&object)?;
    let storages = storages(&object);
    let starts = starts(&keys, &storages, bytes.len() - rest.len(), bytes)?;
    let tensors = views
        .stored
        .into_iter()
        .map(|view| match starts.get(view.storage.key) {
            Some(start) => view.at(*start),
            None => Err(format!(
                "tensor `{}` is in storage {:?}, which is missing",
                view.name, view.storage.key
            )),
        });
    let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    tensors.extend(views.constants.into_iter().map(Constant::tensor));
    Ok((tensors, note))
}

/// The position of each storage's elements. The first storage is at `at`.
fn starts<'a>(
    keys: &Pickle<'a>,
    storages: &HashMap<&str, Storage>,
    mut at: usize,
    bytes: &[u8],
) -> Result<HashMap<&'a str, usize>, Reason> {
    let Object::Sequence(keys_in_order) = keys.get(keys.top) else {
        return Err("the keys of its storages are not a list".into());
    };
    let mut starts = HashMap::new();
    for key in keys_in_order {
        let Object::Text(key) = *keys.get(*key) else {
            return Err("the key of a storage is not a string".into());
        };
        // Only the object contains the dtype, and so the size of an element.
        let Some(storage) = storages.get(key) else {
            return Err(format!("storage {key:?} is not used by any tensor"));
        };
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((elements, rest)) = rest.split_first_chunk::<8>() else {
            return Err(format!("it is truncated before storage {key:?}"));
        };
        if usize::try_from(i64::from_le_bytes(*elements)) != Ok(storage.elements) {
            return Err(format!(
                "the length of storage {key:?} differs from the length in its tensor"
            ));
        }
        let length = storage.bytes()?;
        if length > rest.len() {
            return Err(format!("it is truncated in storage {key:?}"));
        }
        starts.insert(key, at + 8);
        at += 8 + length;
    }
    Ok(starts)
}
