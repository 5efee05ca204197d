//! transformers: the `config.json` of a `ResNetForImageClassification` and the
//! `preprocessor_config.json` of its image processor.

use serde::Deserialize;
use serde_json::Value;

use crate::activation::Activation;
use crate::config::document::Document;
use crate::error::Result;
use crate::labels::Labels;
use crate::metadata::Metadata;
use crate::preprocessing::{Interpolation, Preprocessing, Resize};

pub(super) fn metadata(config: &Document, preprocessor: Option<&Document>) -> Result<Metadata> {
    config.require("model_type", "resnet".to_owned())?;
    config.require("hidden_act", "relu".to_owned())?;
    config.require("num_channels", 3)?;
    config.require("downsample_in_first_stage", false)?;
    Ok(Metadata {
        architecture: architecture(config)?,
        preprocessing: preprocessor.map(preprocessing).transpose()?,
        labels: labels(config)?,
        activation: activation(config)?,
        stride_on_first_1x1: Some(config.get("downsample_in_bottleneck")?.unwrap_or(false)),
        pooled_shortcut: Some(false),
        ..Metadata::default()
    })
}

/// The usual name of a network with these depths, if there is one.
fn architecture(config: &Document) -> Result<Option<String>> {
    let block: Option<String> = config.get("layer_type")?;
    let depths: Option<Vec<u32>> = config.get("depths")?;
    let name = match (
        block.as_deref().unwrap_or("bottleneck"),
        depths.as_deref().unwrap_or(&[3, 4, 6, 3]),
    ) {
        ("basic", [2, 2, 2, 2]) => "resnet18",
        ("basic", [3, 4, 6, 3]) => "resnet34",
        ("bottleneck", [2, 2, 2, 2]) => "resnet26",
        ("bottleneck", [3, 4, 6, 3]) => "resnet50",
        ("bottleneck", [3, 4, 23, 3]) => "resnet101",
        ("bottleneck", [3, 8, 36, 3]) => "resnet152",
        _ => return Ok(None),
    };
    Ok(Some(name.to_owned()))
}

/// `problem_type`, which selects the loss in training. Without it, the pipeline
/// of transformers applies a sigmoid to one output and a softmax to several.
fn activation(config: &Document) -> Result<Option<Activation>> {
    match config.get::<String>("problem_type")?.as_deref() {
        None => Ok(None),
        Some("single_label_classification") => Ok(Some(Activation::Softmax)),
        Some("multi_label_classification") => Ok(Some(Activation::Sigmoid)),
        Some("regression") => Ok(Some(Activation::None)),
        Some(other) => Err(config.error(
            "problem_type",
            format!(
                "it is {other:?}; single_label_classification, multi_label_classification and regression are supported"
            ),
        )),
    }
}

/// `id2label`, unless it holds the placeholders that transformers writes.
fn labels(config: &Document) -> Result<Option<Labels>> {
    let Some(named) = config.get::<Value>("id2label")? else {
        return Ok(None);
    };
    let labels =
        Labels::from_json(&named.to_string()).map_err(|reason| config.error("id2label", reason))?;
    let nameless = labels
        .iter()
        .enumerate()
        .all(|(i, label)| label.name == format!("LABEL_{i}"));
    Ok((!nameless).then(|| labels.with_imagenet_wnids()))
}

/// `size`: a number, the shortest edge, or both sides, in pixels.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u32),
    Shortest { shortest_edge: u32 },
    Both { height: u32, width: u32 },
}

/// From this size on, a ConvNext processor resizes both sides and does not crop.
const CONVNEXT_SQUASH_SIZE: u32 = 384;

fn preprocessing(config: &Document) -> Result<Preprocessing> {
    for required in ["do_resize", "do_rescale", "do_normalize"] {
        config.require(required, true)?;
    }
    let rescale: f64 = config.get("rescale_factor")?.unwrap_or(1.0 / 255.0);
    if (rescale * 255.0 - 1.0).abs() > 1e-3 {
        return Err(config.error(
            "rescale_factor",
            format!("it is {rescale}; only 1/255 is supported"),
        ));
    }
    let kind = kind(config)?;
    let is_convnext = kind.starts_with("ConvNext") || kind.starts_with("ConvNeXT");
    let (resize, crop) = if is_convnext {
        convnext(config)?
    } else {
        plain(config)?
    };
    let statistics = |field, default| Ok(config.get(field)?.unwrap_or([default; 3]));
    let preprocessing = Preprocessing {
        resize,
        crop,
        interpolation: interpolation(config)?,
        mean: statistics("image_mean", 0.5)?,
        std: statistics("image_std", 0.5)?,
    };
    preprocessing
        .checked()
        .map_err(|reason| config.error("size", reason))
}

/// The class of the processor, in the current field or the deprecated one.
fn kind(config: &Document) -> Result<String> {
    let current = config.get("image_processor_type")?;
    let deprecated = config.get("feature_extractor_type")?;
    Ok(current.or(deprecated).unwrap_or_default())
}

/// A ConvNext processor. Below 384, it resizes the shortest edge to the size
/// divided by `crop_pct` and crops; from 384 on, it resizes both sides.
fn convnext(config: &Document) -> Result<(Resize, u32)> {
    let size = match config.get("size")? {
        Some(
            Size::Number(size)
            | Size::Shortest {
                shortest_edge: size,
            },
        ) => size,
        Some(Size::Both { .. }) => {
            return Err(config.error(
                "size",
                "it has a height and a width; a ConvNext processor needs `shortest_edge`",
            ));
        }
        None => CONVNEXT_SQUASH_SIZE,
    };
    if size >= CONVNEXT_SQUASH_SIZE {
        return Ok((Resize::Exact(size), size));
    }
    let percentage: f64 = config.get("crop_pct")?.unwrap_or(224.0 / 256.0);
    // The cast saturates; `checked` rejects the result.
    Ok((
        Resize::ShortSide((f64::from(size) / percentage).floor() as u32),
        size,
    ))
}

/// Every other processor: resize, then an optional crop.
fn plain(config: &Document) -> Result<(Resize, u32)> {
    let square = |field: &str, size| match size {
        Size::Number(side) => Ok(side),
        Size::Both { height, width } if height == width => Ok(height),
        _ => Err(config.error(field, "it is not square; only equal sides are supported")),
    };
    let size = config.get("size")?.unwrap_or(Size::Number(224));
    let crop = match config.get("do_center_crop")? {
        Some(true) => Some(square(
            "crop_size",
            config.get("crop_size")?.unwrap_or(Size::Number(224)),
        )?),
        _ => None,
    };
    match (size, crop) {
        // Processors that crop interpret a number as the shortest edge.
        (
            Size::Shortest {
                shortest_edge: side,
            }
            | Size::Number(side),
            Some(crop),
        ) => Ok((Resize::ShortSide(side), crop)),
        (Size::Shortest { .. }, None) => {
            Err(config.error("size", "it has a `shortest_edge` without `do_center_crop`, so the result is not square; only square inputs are supported"))
        }
        (size, crop) => {
            let side = square("size", size)?;
            Ok((Resize::Exact(side), crop.unwrap_or(side)))
        }
    }
}

/// `resample`, in Pillow's numbers of filters.
fn interpolation(config: &Document) -> Result<Interpolation> {
    match config.get::<u32>("resample")? {
        Some(0) => Ok(Interpolation::Nearest),
        Some(1) => Ok(Interpolation::Lanczos),
        None | Some(2) => Ok(Interpolation::Bilinear),
        Some(3) => Ok(Interpolation::Bicubic),
        Some(other) => Err(config.error(
            "resample",
            format!("it is {other}; Pillow's filters 0 to 3 are supported"),
        )),
    }
}
