//! A tensor as a pickle of `torch.save` describes it: a view into a storage.

use std::collections::HashMap;

use safetensors::Dtype;

use crate::pytorch::pickle::{Id, OPAQUE, Object, Pickle, Reason};
use crate::tensor::{Location, Tensor, Values};

/// A view into a storage.
pub(super) struct View<'a> {
    pub(super) name: String,
    pub(super) storage: Storage<'a>,
    /// In elements of the storage, as are the strides.
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

/// A contiguous array of elements that tensors share.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    pub(super) elements: usize,
}

impl Storage<'_> {
    /// The size in bytes; an error if it overflows.
    pub(super) fn bytes(&self) -> Result<usize, Reason> {
        let bytes = self.elements.checked_mul(self.dtype.bitsize() / 8);
        bytes.ok_or_else(|| {
            format!(
                "storage {:?} has {} elements, more than any memory",
                self.key, self.elements
            )
        })
    }
}

/// Parses `(storage, offset, size, stride, ...)`; `None` for anything else.
pub(super) fn view<'a>(pickle: &Pickle<'a>, name: &str, arguments: &[Id]) -> Option<View<'a>> {
    let [at, offset, shape, strides, ..] = *arguments else {
        return None;
    };
    Some(View {
        name: name.to_owned(),
        storage: storage(pickle, pickle.get(at))?,
        offset: size(pickle, offset)?,
        shape: sizes(pickle, shape)?,
        strides: sizes(pickle, strides)?,
    })
}

/// All storages in the pickle, by key.
pub(super) fn storages<'a>(pickle: &Pickle<'a>) -> HashMap<&'a str, Storage<'a>> {
    let storages = pickle
        .objects()
        .filter_map(|object| storage(pickle, object));
    storages.map(|storage| (storage.key, storage)).collect()
}

/// Parses `("storage", class, key, device, elements)`, optionally followed by
/// None. PyTorch has not written views of storages since 0.4.
fn storage<'a>(pickle: &Pickle<'a>, object: &Object<'a>) -> Option<Storage<'a>> {
    let Object::Persistent(identity) = object else {
        return None;
    };
    let Object::Sequence(identity) = pickle.get(*identity) else {
        return None;
    };
    let ([_, class, key, _, elements] | [_, class, key, _, elements, OPAQUE]) = identity[..] else {
        return None;
    };
    let (Object::Global(_, class), Object::Text(key)) = (pickle.get(class), pickle.get(key)) else {
        return None;
    };
    Some(Storage {
        key,
        dtype: dtype(class)?,
        elements: size(pickle, elements)?,
    })
}

fn dtype(class: &str) -> Option<Dtype> {
    Some(match class {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "DoubleStorage" => Dtype::F64,
        "LongStorage" => Dtype::I64,
        "IntStorage" | "QInt32Storage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" | "QInt8Storage" => Dtype::I8,
        "ByteStorage" | "QUInt8Storage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

fn size(pickle: &Pickle, id: Id) -> Option<usize> {
    match pickle.get(id) {
        Object::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn sizes(pickle: &Pickle, id: Id) -> Option<Vec<usize>> {
    match pickle.get(id) {
        Object::Sequence(items) => items.iter().map(|item| size(pickle, *item)).collect(),
        _ => None,
    }
}

impl View<'_> {
    /// The tensor, whose storage begins at byte `start` of the file.
    pub(super) fn at(self, start: usize) -> Result<Tensor, Reason> {
        let Some((from, to)) = self.span() else {
            return Err(format!(
                "tensor `{}` of shape {:?} does not fit its storage of {} elements; save a contiguous copy of it",
                self.name, self.shape, self.storage.elements
            ));
        };
        let width = self.storage.dtype.bitsize() / 8;
        let strides = (!self.is_row_major()).then_some(self.strides);
        Ok(Tensor {
            name: self.name,
            dtype: self.storage.dtype,
            shape: self.shape,
            values: Values::Stored(Location {
                file: 0,
                range: start + from * width..start + to * width,
                strides,
            }),
        })
    }

    /// The range of storage elements that the tensor uses; `None` if it is not in
    /// the storage, or the tensor repeats elements (as `expand` does).
    fn span(&self) -> Option<(usize, usize)> {
        let count = self
            .shape
            .iter()
            .try_fold(1_usize, |count, n| count.checked_mul(*n))?;
        if self.strides.len() != self.shape.len() || count > self.storage.elements {
            return None;
        }
        let mut to = self.offset;
        if count > 0 {
            for (n, stride) in self.shape.iter().zip(&self.strides) {
                to = to.checked_add((n - 1).checked_mul(*stride)?)?;
            }
            to = to.checked_add(1)?;
        }
        (to <= self.storage.elements).then_some((self.offset, to))
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(n, stride)| {
                let matches = *n == 1 || *stride == expected;
                expected *= n;
                matches
            })
    }
}
