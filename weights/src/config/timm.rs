//! timm's `config.json`: the architecture by name, `model_args`, which change it,
//! and `pretrained_cfg`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::config::document::Document;
use crate::error::Result;
use crate::labels::{Label, Labels};
use crate::metadata::Metadata;
use crate::preprocessing::{Interpolation, Preprocessing, Resize};

pub(super) fn metadata(config: &Document) -> Result<Metadata> {
    config.require("global_pool", "avg".to_owned())?;
    let Some(architecture) = config.get("architecture")? else {
        return Err(config.error("architecture", "it is missing"));
    };
    let arguments = config.nested_or_empty("model_args")?;
    check_arguments(&arguments)?;
    let classes = config.get("num_classes")?;
    Ok(Metadata {
        architecture: Some(architecture),
        classes: classes.or(arguments.get("num_classes")?),
        channels: arguments.get("in_chans")?,
        preprocessing: Some(preprocessing(&config.nested("pretrained_cfg"))?),
        labels: labels(config)?,
        ..Metadata::default()
    })
}

/// Arguments of timm's ResNets without effect on inference.
const INERT: [&str; 8] = [
    "num_classes",
    "drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "zero_init_last",
    "zero_init_fc",
    "pretrained",
    "checkpoint_path",
];

/// Accepts the arguments of the network's constructor that have no effect or
/// their default value. The others change what the network computes.
fn check_arguments(arguments: &Document) -> Result<()> {
    for (name, value) in arguments.fields() {
        let text = value
            .as_str()
            .map(|text| text.replace('_', "").to_lowercase());
        let is_default = match name {
            name if INERT.contains(&name) => true,
            // 1: see `grey`
            "in_chans" => match value.as_u64() {
                Some(1 | 3) => true,
                _ => {
                    let reason = format!(
                        "argument `in_chans` is {value}; 3 (RGB) and 1 (grey) are supported, because images have no other channels"
                    );
                    return Err(arguments.error("model_args", reason));
                }
            },
            "output_stride" => *value == 32,
            "global_pool" => text.as_deref() == Some("avg"),
            "act_layer" => text.as_deref() == Some("relu"),
            "norm_layer" => matches!(text.as_deref(), Some("batchnorm" | "batchnorm2d")),
            _ => *value == Value::Bool(false),
        };
        if !is_default && !value.is_null() {
            let reason = format!(
                "argument `{name}` is {value}; it changes the network and is not supported"
            );
            return Err(arguments.error("model_args", reason));
        }
    }
    Ok(())
}

/// timm's evaluation transform: resize to the input size over the crop
/// percentage, then crop from the centre.
fn preprocessing(config: &Document) -> Result<Preprocessing> {
    let [channels, height, width] = config.get("input_size")?.unwrap_or([3, 224, 224]);
    if ![1, 3].contains(&channels)
        || height != width
        || !(1..=u64::from(u32::MAX)).contains(&height)
    {
        let reason = format!(
            "it is {:?}; only 1 or 3 channels and equal sides are supported",
            [channels, height, width]
        );
        return Err(config.error("input_size", reason));
    }
    let percentage: f64 = config.get("crop_pct")?.unwrap_or(0.875);
    // The cast saturates; `checked` rejects the result.
    let side = (height as f64 / percentage).floor() as u32;
    let resize = match config.get::<String>("crop_mode")?.as_deref() {
        None | Some("center") => Resize::ShortSide(side),
        Some("squash") => Resize::Exact(side),
        Some(mode) => {
            return Err(config.error(
                "crop_mode",
                format!("it is {mode:?}; center and squash are supported"),
            ));
        }
    };
    let preprocessing = Preprocessing {
        resize,
        crop: height as u32,
        interpolation: config
            .get("interpolation")?
            .unwrap_or(Interpolation::Bicubic),
        mean: statistics(config, "mean")?.unwrap_or(Preprocessing::imagenet().mean),
        std: statistics(config, "std")?.unwrap_or(Preprocessing::imagenet().std),
    };
    preprocessing
        .checked()
        .map_err(|reason| config.error("pretrained_cfg", reason))
}

/// One value for each channel of RGB, or one for all.
fn statistics(config: &Document, field: &str) -> Result<Option<[f32; 3]>> {
    let Some(values) = config.get::<Vec<f32>>(field)? else {
        return Ok(None);
    };
    match values[..] {
        [red, green, blue] => Ok(Some([red, green, blue])),
        [grey] => Ok(Some([grey; 3])),
        _ => {
            let reason = format!("it has {} values; 1 or 3 are supported", values.len());
            Err(config.error(field, reason))
        }
    }
}

/// Names of classes, in their order or by their index.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    InOrder(Vec<String>),
    ByIndex(BTreeMap<String, String>),
}

/// `label_names`, before 0.8 `labels`, in the order of the classes. If they are `WordNet` ids, the
/// names are in `label_descriptions`.
fn labels(config: &Document) -> Result<Option<Labels>> {
    let field = if config.has("label_names") {
        "label_names"
    } else {
        "labels"
    };
    let names = match config.get(field)? {
        None => return Ok(None),
        Some(Names::InOrder(names)) => names,
        Some(Names::ByIndex(names)) => {
            let by_index: BTreeMap<usize, String> = names
                .into_iter()
                .filter_map(|(index, name)| Some((index.parse().ok()?, name)))
                .collect();
            if !by_index.keys().copied().eq(0..by_index.len()) {
                return Err(config.error(field, "its indices must be 0, 1, ... without gaps"));
            }
            by_index.into_values().collect()
        }
    };
    let described: BTreeMap<String, String> = config.get("label_descriptions")?.unwrap_or_default();
    let label = |name: String| match described.get(&name) {
        Some(description) => Label {
            name: description.clone(),
            wnid: Some(name),
        },
        None => Label { wnid: None, name },
    };
    Ok(Some(names.into_iter().map(label).collect()))
}
