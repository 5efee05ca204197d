//! Networks that `torch.ao.quantization` has fused and converted, such as those of
//! `torchvision.models.quantization`. They have no batch norms: each convolution
//! has a bias. Each module states the quantization of its output, as
//! `NAME.scale` and `NAME.zero_point`.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;

use crate::bytes::Bytes;
use crate::metadata::Ranges;
use crate::tensor::{Tensor, Values};

type Tensors = BTreeMap<String, Tensor>;

/// The module that quantizes the input of the network, and the layer of it.
const INPUT: (&str, &str) = ("quant", "input");
/// The classifier; its outputs are floats here.
const CLASSIFIER: &str = "fc";
/// The modules that add the two branches of a block.
const SUMS: [&str; 2] = ["add_relu", "skip_add_relu"];
/// The epsilon of batch norms.
const EPSILON: f32 = 1e-5;

/// Turns canonically named tensors of such a network into those of the network
/// before its conversion, with 8-bit weights and batch norms that add the biases.
/// Returns the range of each layer's output; `None` for another network.
pub(crate) fn unfold(tensors: &mut Tensors, files: &[Bytes]) -> Result<Option<Ranges>, String> {
    let zero_points = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".zero_point"));
    let modules = zero_points.filter(|module| tensors.contains_key(&format!("{module}.scale")));
    let modules: BTreeSet<String> = modules.map(str::to_owned).collect();
    if modules.is_empty() {
        return Ok(None);
    }
    let mut ranges = Ranges::new();
    for module in &modules {
        let range = range(module, tensors, files)?;
        if let Some(layer) = layer(module, &modules, tensors)? {
            ranges.insert(layer, range);
        }
    }
    for module in &modules {
        if is_conv(module, tensors) {
            add_norm(module, tensors)?;
        }
    }
    Ok(Some(ranges))
}

/// Removes the quantization of a module's output and returns the values that it
/// covers.
fn range(module: &str, tensors: &mut Tensors, files: &[Bytes]) -> Result<[f32; 2], String> {
    let mut take = |field: &str| tensors.remove(&format!("{module}.{field}"));
    let scale = take("scale").and_then(|scale| match scale.widen(files)?[..] {
        [scale] => Some(scale),
        _ => None,
    });
    let scale = scale.filter(|scale| scale.is_normal() && *scale > 0.0);
    let scale = scale.ok_or_else(|| format!("`{module}.scale` is no number above 0"))?;
    let zero_point = take("zero_point").and_then(|zero_point| zero_point.integer(files));
    let zero_point = zero_point.filter(|zero_point| (0..=255).contains(zero_point));
    let zero_point = zero_point.ok_or_else(|| {
        format!("`{module}.zero_point` is no integer from 0 to 255, as of 8-bit activations")
    })?;
    let value = |byte: i64| (byte - zero_point) as f32 * scale;
    Ok([value(0), value(255)])
}

/// The layer whose output a module quantizes, after the additions and the ReLU that
/// follow it. `None` where the output is no feature map: the last convolution of a
/// block is added to the shortcut before it is rounded.
fn layer(
    module: &str,
    modules: &BTreeSet<String>,
    tensors: &Tensors,
) -> Result<Option<String>, String> {
    if module == INPUT.0 {
        return Ok(Some(INPUT.1.to_owned()));
    }
    if module == CLASSIFIER {
        return Ok(None);
    }
    let last_conv = |block: &str| {
        let convs = [3, 2].map(|number| format!("{block}.conv{number}"));
        convs.into_iter().find(|conv| is_conv(conv, tensors))
    };
    let (block, part) = module.rsplit_once('.').unwrap_or(("", module));
    if SUMS.contains(&part)
        && let Some(conv) = last_conv(block)
    {
        return Ok(Some(conv));
    }
    if !is_conv(module, tensors) {
        return Err(format!(
            "it quantizes the output of `{module}`, which is no convolution; fuse the network \
             with `fuse_model` before its conversion, as torchvision does"
        ));
    }
    let is_added = last_conv(block).is_some_and(|conv| conv == module)
        && SUMS
            .iter()
            .any(|sum| modules.contains(&format!("{block}.{sum}")));
    Ok((!is_added).then(|| module.to_owned()))
}

fn is_conv(module: &str, tensors: &Tensors) -> bool {
    let weights = tensors.get(&format!("{module}.weight"));
    weights.is_some_and(|weights| weights.shape.len() == 4)
}

/// Replaces the bias of a convolution by a batch norm that adds it.
fn add_norm(conv: &str, tensors: &mut Tensors) -> Result<(), String> {
    let Some(norm) = norm_of(conv) else {
        return Err(format!(
            "it has a quantized convolution `{conv}`, which no ResNet has"
        ));
    };
    if tensors.contains_key(&format!("{norm}.weight")) {
        return Err(format!(
            "its batch norm `{norm}` is not fused with `{conv}`; fuse the network with \
             `fuse_model` before its conversion, as torchvision does"
        ));
    }
    let weights = tensors.get(&format!("{conv}.weight"));
    let shape = weights.map_or(&[][..], |weights| &weights.shape);
    // of an empty tensor, the other sides can be any number
    let channels = shape.first().filter(|_| !shape.contains(&0));
    let channels = *channels.ok_or_else(|| format!("`{conv}.weight` is empty"))?;
    let bias = tensors.remove(&format!("{conv}.bias"));
    let bias = bias.unwrap_or_else(|| constant(0.0, channels));
    let parts = [
        ("weight", constant(1.0, channels)),
        ("bias", bias),
        ("running_mean", constant(0.0, channels)),
        ("running_var", constant(1.0 - EPSILON, channels)),
    ];
    for (part, tensor) in parts {
        let name = format!("{norm}.{part}");
        tensors.insert(name.clone(), Tensor { name, ..tensor });
    }
    Ok(())
}

/// The batch norm after a convolution.
fn norm_of(conv: &str) -> Option<String> {
    let (block, part) = match conv.rsplit_once('.') {
        Some((block, part)) => (format!("{block}."), part),
        None => (String::new(), conv),
    };
    match part {
        "0" if block.ends_with("downsample.") => Some(format!("{block}1")),
        _ => part
            .strip_prefix("conv")
            .map(|number| format!("{block}bn{number}")),
    }
}

fn constant(value: f32, channels: usize) -> Tensor {
    Tensor {
        name: String::new(),
        dtype: Dtype::F32,
        shape: vec![channels],
        values: Values::InMemory(vec![value; channels]),
    }
}
