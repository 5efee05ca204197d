//! transformers' `config.json` of a `ResNetForImageClassification`, and the
//! `preprocessor_config.json` of the image processors it is published with.

use serde::Deserialize;
use serde_json::Value;

use super::Document;
use crate::error::Result;
use crate::facts::Facts;
use crate::labels::Labels;
use crate::recipe::{Interpolation, Recipe, Resize};

pub(super) fn facts(config: &Document, preprocessor: Option<&Document>) -> Result<Facts> {
    config.only("model_type", "resnet".to_owned())?;
    config.only("hidden_act", "relu".to_owned())?;
    config.only("num_channels", 3)?;
    config.only("downsample_in_first_stage", false)?;
    Ok(Facts {
        architecture: architecture(config)?,
        recipe: preprocessor.map(recipe).transpose()?,
        labels: labels(config)?,
        stride_on_first_1x1: Some(config.get("downsample_in_bottleneck")?.unwrap_or(false)),
        pooled_shortcut: Some(false),
        ranges: None,
    })
}

/// The usual name for the depths, where there is one.
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

/// `id2label`, unless it holds what transformers fills in for want of names.
fn labels(config: &Document) -> Result<Option<Labels>> {
    let Some(named) = config.get::<Value>("id2label")? else {
        return Ok(None);
    };
    let labels =
        Labels::from_json(&named.to_string()).map_err(|fault| config.fault("id2label", fault))?;
    let nameless = labels
        .iter()
        .enumerate()
        .all(|(i, label)| label.name == format!("LABEL_{i}"));
    Ok((!nameless).then(|| labels.with_imagenet_wnids()))
}

/// `size`: a number, the shortest edge, or both sides.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u32),
    Shortest { shortest_edge: u32 },
    Both { height: u32, width: u32 },
}

/// Where both edges of a ConvNext processor are resized and nothing is cut.
const CONVNEXT_SQUASHES_FROM: u32 = 384;

fn recipe(config: &Document) -> Result<Recipe> {
    for needed in ["do_resize", "do_rescale", "do_normalize"] {
        config.only(needed, true)?;
    }
    let rescale: f64 = config.get("rescale_factor")?.unwrap_or(1.0 / 255.0);
    if (rescale * 255.0 - 1.0).abs() > 1e-3 {
        return Err(config.fault(
            "rescale_factor",
            format!("{rescale}; only 1/255 is offered"),
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
    let recipe = Recipe {
        resize,
        crop,
        interpolation: interpolation(config)?,
        mean: statistics("image_mean", 0.5)?,
        std: statistics("image_std", 0.5)?,
    };
    recipe
        .checked()
        .map_err(|fault| config.fault("size", fault))
}

/// The class of the processor, under its name of today or of yesterday.
fn kind(config: &Document) -> Result<String> {
    let today = config.get("image_processor_type")?;
    let yesterday = config.get("feature_extractor_type")?;
    Ok(today.or(yesterday).unwrap_or_default())
}

/// ConvNext's rule: below 384, resize the shortest edge to the size over the
/// crop percentage and crop; from 384 on, resize both sides.
fn convnext(config: &Document) -> Result<(Resize, u32)> {
    let size = match config.get("size")? {
        Some(
            Size::Number(size)
            | Size::Shortest {
                shortest_edge: size,
            },
        ) => size,
        Some(Size::Both { .. }) => {
            return Err(config.fault("size", "a ConvNext processor takes a shortest edge"));
        }
        None => CONVNEXT_SQUASHES_FROM,
    };
    if size >= CONVNEXT_SQUASHES_FROM {
        return Ok((Resize::Exact(size), size));
    }
    let percentage: f64 = config.get("crop_pct")?.unwrap_or(224.0 / 256.0);
    // A saturating cast: what is absurd stays so and is refused with the recipe.
    Ok((
        Resize::ShortSide((f64::from(size) / percentage).floor() as u32),
        size,
    ))
}

/// Every other processor: resize, then perhaps crop.
fn plain(config: &Document) -> Result<(Resize, u32)> {
    let square = |field: &str, size| match size {
        Size::Number(side) => Ok(side),
        Size::Both { height, width } if height == width => Ok(height),
        _ => Err(config.fault(field, "only squares are offered")),
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
        // A lone number means the shortest edge to the processors that crop.
        (
            Size::Shortest {
                shortest_edge: side,
            }
            | Size::Number(side),
            Some(crop),
        ) => Ok((Resize::ShortSide(side), crop)),
        (Size::Shortest { .. }, None) => {
            Err(config.fault("size", "a shortest edge without a crop is no square"))
        }
        (size, crop) => {
            let side = square("size", size)?;
            Ok((Resize::Exact(side), crop.unwrap_or(side)))
        }
    }
}

/// Pillow's numbers for its filters.
fn interpolation(config: &Document) -> Result<Interpolation> {
    match config.get::<u32>("resample")? {
        Some(0) => Ok(Interpolation::Nearest),
        Some(1) => Ok(Interpolation::Lanczos),
        None | Some(2) => Ok(Interpolation::Bilinear),
        Some(3) => Ok(Interpolation::Bicubic),
        Some(other) => Err(config.fault(
            "resample",
            format!("Pillow's filter {other}; 0 to 3 are offered"),
        )),
    }
}
