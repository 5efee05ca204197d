//! Finds the tensors in a pickle of `torch.save`: a state dict, or one nested in
//! the dictionaries of a training script.

use std::collections::HashMap;

use safetensors::Dtype;

use crate::pytorch::pickle::{Id, OPAQUE, Object, Pickle, Reason};
use crate::tensor::{Location, Tensor, Values};

/// The keys of the state dict in training checkpoints, in order of preference.
/// Averaged weights (EMA) come first, as in timm.
const NESTED: [&str; 12] = [
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model",
    "model_state_dict",
    "module",
    "net",
    "network",
    "weights",
    "params",
];
/// How many of them are averaged weights.
const AVERAGED: usize = 4;
/// Longest name of a class in an error.
const MAX_CLASS_CHARS: usize = 100;
/// Deepest nesting of dictionaries and wrappers that is searched.
const MAX_DEPTH: usize = 4;

/// A tensor as the pickle describes it: a view into a storage.
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) storage: Storage<'a>,
    /// In elements of the storage, as are the strides.
    offset: usize,
    shape: Vec<usize>,
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

/// The tensors of the state dict in `pickle`, and where it was among others.
pub(super) fn views<'a>(pickle: &Pickle<'a>) -> Result<(Vec<View<'a>>, Option<String>), Reason> {
    let (id, note) = find(pickle)?;
    let Object::Dict(pairs) = pickle.get(id) else {
        let class = class(pickle, id).unwrap_or_else(|| "a Python object".into());
        return Err(format!(
            "it contains {class} instead of a state dict; save its `state_dict()`"
        ));
    };
    let mut views = Vec::new();
    for (key, value) in pairs {
        let Object::Text(name) = *pickle.get(*key) else {
            continue;
        };
        if let Some(arguments) = tensor_arguments(pickle, name, *value)? {
            if is_lazy(pickle, arguments) {
                return Err(format!(
                    "tensor `{name}` is a negated or conjugated view of its storage; save `resolve_neg()` of it"
                ));
            }
            views.push(view(pickle, name, arguments).ok_or_else(|| {
                format!("tensor `{name}` has an unsupported description; save the `state_dict()` with a current PyTorch")
            })?);
        }
    }
    Ok((views, note))
}

/// The innermost dictionary under the keys of [`NESTED`], and a note if it holds
/// averaged weights.
fn find(pickle: &Pickle) -> Result<(Id, Option<String>), Reason> {
    let (mut at, mut note) = (pickle.top, None);
    for _ in 0..MAX_DEPTH {
        let Object::Dict(pairs) = pickle.get(at) else {
            break;
        };
        let under = |name: &str| {
            let found = pairs
                .iter()
                .find(|(key, _)| matches!(pickle.get(*key), Object::Text(key) if *key == name));
            found.map(|(_, value)| *value)
        };
        let holds = |id: &Id| holds_tensors(pickle, *id, MAX_DEPTH);
        let nested = NESTED
            .iter()
            .enumerate()
            .find_map(|(rank, name)| Some((rank, *name, under(name).filter(holds)?)));
        match nested {
            Some((rank, name, inner)) => {
                if rank < AVERAGED {
                    note = Some(format!("averaged weights (EMA), from `{name}`"));
                }
                at = inner;
            }
            // a whole module, with other things beside it
            None => {
                let module = NESTED
                    .iter()
                    .find_map(|name| Some((name, class(pickle, under(name)?)?)));
                return match module {
                    Some((name, class)) => Err(format!(
                        "`{name}` in it is {class} instead of a state dict; save its `state_dict()`"
                    )),
                    None => Ok((at, note)),
                };
            }
        }
    }
    Ok((at, note))
}

/// Whether a dictionary, or one in it, has a tensor.
fn holds_tensors(pickle: &Pickle, id: Id, depth: usize) -> bool {
    let Object::Dict(pairs) = pickle.get(id) else {
        return false;
    };
    let is_tensor = |value: &Id| match pickle.get(*value) {
        Object::Call(callable, _) => {
            matches!(pickle.get(*callable), Object::Global(module, _) if module.starts_with("torch._"))
        }
        Object::Dict(_) => depth > 0 && holds_tensors(pickle, *value, depth - 1),
        _ => false,
    };
    pairs.iter().any(|(_, value)| is_tensor(value))
}

/// What an object that is made by calling a class is. Tensors are made by
/// functions of torch.
fn class(pickle: &Pickle, id: Id) -> Option<String> {
    let Object::Call(callable, _) = *pickle.get(id) else {
        return None;
    };
    match pickle.get(callable) {
        Object::Global(module, _) if module.starts_with("torch._") => None,
        Object::Global(module, name) => {
            let full = format!("{module}.{name}");
            let short: String = full.chars().take(MAX_CLASS_CHARS).collect();
            Some(format!("a pickled `{short}`"))
        }
        _ => None,
    }
}

/// The arguments that describe tensor `name`, without wrappers; `None` if the
/// value is not a tensor.
fn tensor_arguments<'p>(
    pickle: &'p Pickle,
    name: &str,
    value: Id,
) -> Result<Option<&'p [Id]>, Reason> {
    let mut call = pickle.get(value);
    let mut inner;
    for _ in 0..MAX_DEPTH {
        let Object::Call(callable, arguments) = *call else {
            break;
        };
        let (Object::Global(module, function), Object::Sequence(arguments)) =
            (pickle.get(callable), pickle.get(arguments))
        else {
            break;
        };
        match (*module, *function, &arguments[..]) {
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor", arguments) => {
                return Ok(Some(arguments));
            }
            // (tensor, requires_grad, hooks)
            ("torch._utils", "_rebuild_parameter", [tensor, ..]) => call = pickle.get(*tensor),
            // (function, class, arguments, state)
            ("torch._tensor", "_rebuild_from_type_v2", [function, _, arguments, ..]) => {
                inner = Object::Call(*function, *arguments);
                call = &inner;
            }
            (module, function, _) if module.starts_with("torch._") => {
                return Err(format!(
                    "tensor `{name}` is created by `{module}.{function}`, which is not supported; save it as a plain dense tensor"
                ));
            }
            _ => break,
        }
    }
    Ok(None)
}

/// Whether a tensor is a view that negates or conjugates its storage when it is
/// read: `(storage, offset, size, stride, requires_grad, hooks, {"neg": True})`.
fn is_lazy(pickle: &Pickle, arguments: &[Id]) -> bool {
    let Some(metadata) = arguments.get(6) else {
        return false;
    };
    match pickle.get(*metadata) {
        Object::Dict(pairs) => pairs
            .iter()
            .any(|(_, value)| !matches!(pickle.get(*value), Object::Bool(false))),
        _ => false,
    }
}

/// Parses `(storage, offset, size, stride, ...)`; `None` for anything else.
fn view<'a>(pickle: &Pickle<'a>, name: &'a str, arguments: &[Id]) -> Option<View<'a>> {
    let [at, offset, shape, strides, ..] = *arguments else {
        return None;
    };
    Some(View {
        name,
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
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
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
            name: self.name.to_owned(),
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
