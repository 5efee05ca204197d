//! Finds the tensors in a pickle of `torch.save`: a state dict, or one nested in
//! the dictionaries of a training script.

use crate::pytorch::pickle::{Id, Object, Pickle, Reason};
use crate::pytorch::qtensor::{self, Constant};
use crate::pytorch::view::{View, view};

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
/// The end of the key of a quantized linear layer's weights and bias.
const PACKED: &str = "._packed_params";
/// How many of [`NESTED`] are averaged weights.
const AVERAGED: usize = 4;
/// Longest name of a class in an error.
const MAX_CLASS_CHARS: usize = 100;
/// Deepest nesting of dictionaries and wrappers that is searched.
const MAX_DEPTH: usize = 4;

/// The tensors of a state dict.
#[derive(Default)]
pub(super) struct Views<'a> {
    pub(super) stored: Vec<View<'a>>,
    /// Those whose values are in the pickle.
    pub(super) constants: Vec<Constant>,
}

/// The tensors of the state dict in `pickle`, and where it was among others.
pub(super) fn views<'a>(pickle: &Pickle<'a>) -> Result<(Views<'a>, Option<String>), Reason> {
    let (id, note) = find(pickle)?;
    let Object::Dict(pairs) = pickle.get(id) else {
        let class = class(pickle, id).unwrap_or_else(|| "a Python object".into());
        return Err(format!(
            "it contains {class} instead of a state dict; save its `state_dict()`"
        ));
    };
    let mut views = Views::default();
    for (key, value) in pairs {
        let Object::Text(name) = *pickle.get(*key) else {
            continue;
        };
        match pickle.get(*value) {
            // the weights and the bias of a quantized linear layer
            Object::Sequence(items) if name.ends_with(PACKED) => {
                for (index, item) in items.iter().enumerate() {
                    add(pickle, &format!("{name}.{index}"), *item, &mut views)?;
                }
            }
            _ => add(pickle, name, *value, &mut views)?,
        }
    }
    Ok((views, note))
}

/// Adds tensor `name`, if the value is a tensor.
fn add<'a>(
    pickle: &Pickle<'a>,
    name: &str,
    value: Id,
    views: &mut Views<'a>,
) -> Result<(), Reason> {
    let Some(Described {
        arguments,
        quantized,
    }) = tensor_arguments(pickle, name, value)?
    else {
        return Ok(());
    };
    if quantized {
        return qtensor::add(pickle, name, arguments, views);
    }
    if is_lazy(pickle, arguments) {
        return Err(format!(
            "tensor `{name}` is a negated or conjugated view of its storage; save `resolve_neg()` of it"
        ));
    }
    let view = view(pickle, name, arguments).ok_or_else(|| {
        format!("tensor `{name}` has an unsupported description; save the `state_dict()` with a current PyTorch")
    })?;
    views.stored.push(view);
    Ok(())
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

/// The arguments of the function that makes a tensor.
pub(super) struct Described<'p> {
    pub(super) arguments: &'p [Id],
    /// Whether the tensor is quantized.
    quantized: bool,
}

/// The arguments that describe tensor `name`, without wrappers; `None` if the
/// value is not a tensor.
pub(super) fn tensor_arguments<'p>(
    pickle: &'p Pickle,
    name: &str,
    value: Id,
) -> Result<Option<Described<'p>>, Reason> {
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
                return Ok(Some(Described {
                    arguments,
                    quantized: false,
                }));
            }
            ("torch._utils", "_rebuild_qtensor", arguments) => {
                return Ok(Some(Described {
                    arguments,
                    quantized: true,
                }));
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
