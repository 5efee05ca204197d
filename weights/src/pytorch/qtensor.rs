//! Quantized tensors of PyTorch: integers, and the parameters that they are
//! multiplied by. They become the tensors `NAME`, `NAME_scale` and, unless it is 0,
//! `NAME_zero_point`.

use safetensors::Dtype;

use crate::pytorch::pickle::{Id, Object, Pickle, Reason};
use crate::pytorch::state_dict::{Views, tensor_arguments};
use crate::pytorch::view::view;
use crate::quantized::{SCALE, ZERO_POINT};
use crate::tensor::{Tensor, Values};

/// Adds the tensors of `(storage, offset, size, stride, parameters, ...)`, the
/// arguments of `torch._utils._rebuild_qtensor`. The parameters are
/// `(torch.per_tensor_affine, scale, zero_point)` or
/// `(torch.per_channel_affine, scales, zero_points, axis)`.
pub(super) fn add<'a>(
    pickle: &Pickle<'a>,
    name: &str,
    arguments: &[Id],
    views: &mut Views<'a>,
) -> Result<(), Reason> {
    let unsupported = |what: &str| {
        format!(
            "tensor `{name}` is quantized {what}; only qint8 with one scale, or one for each \
             output channel, is supported: save the network before its conversion"
        )
    };
    let integers = view(pickle, name, arguments);
    let Some(integers) = integers.filter(|view| view.storage.dtype == Dtype::I8) else {
        return Err(unsupported("to another type than qint8"));
    };
    let Some(Object::Sequence(parameters)) = arguments.get(4).map(|&id| pickle.get(id)) else {
        return Err(unsupported("without parameters"));
    };
    let scheme = parameters.first().map(|&id| pickle.get(id));
    match (scheme, &parameters[..]) {
        (Some(Object::Global("torch", "per_tensor_affine")), &[_, scale, zero_point]) => {
            let (Object::Float(scale), Object::Int(zero_point)) =
                (pickle.get(scale), pickle.get(zero_point))
            else {
                return Err(unsupported("without a scale or a zero point"));
            };
            let channels = integers.shape.first().copied().unwrap_or(0);
            if channels > integers.storage.elements {
                return Err(unsupported("without elements"));
            }
            let constant = |suffix: &str, value: f32| Constant {
                name: format!("{name}{suffix}"),
                value,
                channels,
            };
            views.constants.push(constant(SCALE, *scale as f32));
            if *zero_point != 0 {
                views
                    .constants
                    .push(constant(ZERO_POINT, *zero_point as f32));
            }
        }
        (Some(Object::Global("torch", "per_channel_affine")), &[_, scales, zero_points, axis]) => {
            if !matches!(pickle.get(axis), Object::Int(0)) {
                return Err(unsupported("along another axis than 0"));
            }
            for (suffix, value) in [(SCALE, scales), (ZERO_POINT, zero_points)] {
                let name = format!("{name}{suffix}");
                let arguments = tensor_arguments(pickle, &name, value)?;
                let view = arguments.and_then(|described| view(pickle, &name, described.arguments));
                let view =
                    view.ok_or_else(|| unsupported("with parameters that are no tensors"))?;
                views.stored.push(view);
            }
        }
        _ => return Err(unsupported("with another scheme")),
    }
    views.stored.push(integers);
    Ok(())
}

/// A parameter that the pickle itself contains, the same for all output channels.
pub(super) struct Constant {
    name: String,
    value: f32,
    /// At most the number of elements of the tensor's storage.
    channels: usize,
}

impl Constant {
    /// The tensor. To be called when the lengths of the storages are checked.
    pub(super) fn tensor(self) -> Tensor {
        Tensor {
            name: self.name,
            dtype: Dtype::F32,
            shape: vec![self.channels],
            values: Values::InMemory(vec![self.value; self.channels]),
        }
    }
}
