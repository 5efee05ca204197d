//! transformers: the `preprocessor_config.json` of an image processor. Each class
//! of processors has defaults for the fields that the file does not have.

use serde::Deserialize;
use serde_json::Value;

use crate::config::document::Document;
use crate::error::Result;
use crate::preprocessing::{Interpolation, Preprocessing, Resize};

/// What a class of processors does with an image.
#[derive(Clone, Copy)]
struct Class {
    /// The name without `ImageProcessor` and without `Fast`.
    name: &'static str,
    scheme: Scheme,
    /// Default of `size`.
    size: Size,
    /// Default of `crop_size`, and whether there is a crop by default.
    crop: (u32, bool),
    /// Default of `resample`.
    filter: u32,
    mean: [f32; 3],
    std: [f32; 3],
}

/// How `size` leads to the size of the resized image.
#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    /// As it says; a number stands for both sides.
    Square,
    /// As it says; a number is the shortest edge.
    Shortest,
    /// Below 384, the shortest edge is the size divided by `crop_pct`, and the
    /// crop has the size; from 384 on, both sides have the size.
    ConvNext,
    /// The shortest edge is the size times 256/224.
    Levit,
    /// As [`Scheme::Square`]; the pixels are divided by `image_std` twice unless
    /// `include_top` is false.
    EfficientNet,
    /// As [`Scheme::Shortest`], without normalization; the channels are BGR
    /// unless `do_flip_channel_order` is false.
    MobileVit,
}

/// `size`: a number, the shortest edge, or both sides, in pixels.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u32),
    Shortest { shortest_edge: u32 },
    Both { height: u32, width: u32 },
}

const HALF: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const CLIP: ([f32; 3], [f32; 3]) = (
    [0.481_454_66, 0.457_827_5, 0.408_210_73],
    [0.268_629_54, 0.261_302_6, 0.275_777_1],
);
const BILINEAR: u32 = 2;
const BICUBIC: u32 = 3;

const fn class(
    name: &'static str,
    scheme: Scheme,
    size: Size,
    crop: (u32, bool),
    filter: u32,
    (mean, std): ([f32; 3], [f32; 3]),
) -> Class {
    Class {
        name,
        scheme,
        size,
        crop,
        filter,
        mean,
        std,
    }
}

const fn both(side: u32) -> Size {
    Size::Both {
        height: side,
        width: side,
    }
}

const fn shortest(edge: u32) -> Size {
    Size::Shortest {
        shortest_edge: edge,
    }
}

/// The classes that are understood, with their defaults in transformers 5.24.
#[rustfmt::skip]
const CLASSES: [Class; 12] = [
    class("ConvNext", Scheme::ConvNext, shortest(384), (0, false), BICUBIC, HALF),
    class("ViT", Scheme::Square, both(224), (224, false), BILINEAR, HALF),
    class("DeiT", Scheme::Square, both(256), (224, true), BICUBIC, HALF),
    class("Beit", Scheme::Square, both(224), (224, false), BICUBIC, HALF),
    class("Pvt", Scheme::Square, both(224), (224, false), BICUBIC, IMAGENET),
    class("Bit", Scheme::Shortest, shortest(224), (224, true), BICUBIC, CLIP),
    class("CLIP", Scheme::Shortest, shortest(224), (224, true), BICUBIC, CLIP),
    class("MobileNetV1", Scheme::Shortest, shortest(256), (224, true), BILINEAR, HALF),
    class("MobileNetV2", Scheme::Shortest, shortest(256), (224, true), BILINEAR, HALF),
    class("Levit", Scheme::Levit, shortest(224), (224, true), BICUBIC, IMAGENET),
    class("EfficientNet", Scheme::EfficientNet, both(346), (289, false), BICUBIC, HALF),
    class("MobileViT", Scheme::MobileVit, shortest(224), (256, true), BICUBIC, HALF),
];

/// Fields that are understood, or that do not change the pixels.
const KNOWN: [&str; 33] = [
    "size",
    "crop_size",
    "crop_pct",
    "resample",
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "rescale_factor",
    "rescale_offset",
    "do_normalize",
    "image_mean",
    "image_std",
    "include_top",
    "do_flip_channel_order",
    "image_processor_type",
    "feature_extractor_type",
    "do_convert_rgb",
    "do_reduce_labels",
    "reduce_labels",
    "processor_class",
    "auto_map",
    "return_tensors",
    "data_format",
    "input_data_format",
    "device",
    "disable_grouping",
    "default_to_square",
    "model_input_names",
    "num_channels",
    "image_size",
    "transformers_version",
    "patch_size",
    "image_seq_length",
];

/// From this size on, a ConvNext processor resizes both sides and does not crop.
const CONVNEXT_SQUASH_SIZE: u32 = 384;

/// The preprocessing that the file describes.
pub(super) fn preprocessing(config: &Document) -> Result<Preprocessing> {
    config.require("do_resize", true)?;
    reject_unknown(config)?;
    let class = find(config)?;
    let flips = config.get("do_flip_channel_order")?;
    if flips.unwrap_or(class.scheme == Scheme::MobileVit) {
        let reason = "it is true (the default of this class); only RGB is supported, not BGR";
        return Err(config.error("do_flip_channel_order", reason));
    }
    let (resize, crop) = match class.scheme {
        Scheme::ConvNext => convnext(config, &class)?,
        _ => sides(config, &class)?,
    };
    let (mean, std) = normalization(config, &class)?;
    let preprocessing = Preprocessing {
        resize,
        crop,
        interpolation: interpolation(config, class.filter)?,
        mean,
        std,
    };
    preprocessing
        .checked()
        .map_err(|reason| config.error("size", reason))
}

/// The class of the processor, in the current field or the deprecated one. The
/// processor of a ResNet without that field is ConvNext's.
fn find(config: &Document) -> Result<Class> {
    let current: Option<String> = config.get("image_processor_type")?;
    let deprecated: Option<String> = config.get("feature_extractor_type")?;
    let field = if current.is_some() {
        "image_processor_type"
    } else {
        "feature_extractor_type"
    };
    let full = current.or(deprecated);
    let full = full.as_deref().unwrap_or("ConvNextImageProcessor");
    let name = ["Fast", "Pil"]
        .iter()
        .fold(full, |name, end| name.strip_suffix(end).unwrap_or(name));
    let name = ["ImageProcessor", "FeatureExtractor"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    let class = CLASSES
        .iter()
        .find(|class| name.is_some_and(|name| name.eq_ignore_ascii_case(class.name)));
    class.copied().ok_or_else(|| {
        let known: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
        let reason = format!(
            "it is {full:?}, which is not supported; supported are the image processors of {}",
            known.join(", ")
        );
        config.error(field, reason)
    })
}

/// Rejects fields that could change the pixels and are not understood, such as
/// `do_pad`. Fields that are null or false have no effect.
fn reject_unknown(config: &Document) -> Result<()> {
    for (field, value) in config.fields() {
        let inert = matches!(value, Value::Null | Value::Bool(false));
        if !inert && !field.starts_with('_') && !KNOWN.contains(&field) {
            let reason = format!("it is {value}; this field is not supported");
            return Err(config.error(field, reason));
        }
    }
    Ok(())
}

/// Mean and standard deviation of pixels from 0 to 1, in
/// `(pixel - mean) / std`. The processor computes
/// `((value * rescale_factor - offset) - image_mean) / image_std` of values from
/// 0 to 255.
fn normalization(config: &Document, class: &Class) -> Result<([f32; 3], [f32; 3])> {
    let statistics = |field: &str, default: [f32; 3]| -> Result<[f64; 3]> {
        let given = config.get::<Statistics>(field)?;
        Ok(given.map_or(default, Statistics::channels).map(f64::from))
    };
    let stated_std = statistics("image_std", class.std)?;
    let normalizes = class.scheme != Scheme::MobileVit;
    let (mean, std) = match config.get("do_normalize")?.unwrap_or(normalizes) {
        true => (statistics("image_mean", class.mean)?, stated_std),
        false => ([0.0; 3], [1.0; 3]),
    };
    let scale = if config.get("do_rescale")?.unwrap_or(true) {
        config.get("rescale_factor")?.unwrap_or(1.0 / 255.0) * 255.0
    } else {
        255.0
    };
    if !(scale > 0.0 && f64::is_finite(scale)) {
        let reason = format!("it is {}; it must be positive", scale / 255.0);
        return Err(config.error("rescale_factor", reason));
    }
    // rounding of 1/255 in decimals
    let scale = if (scale - 1.0).abs() < 1e-4 {
        1.0
    } else {
        scale
    };
    let offsets = config.get("rescale_offset")?.unwrap_or(false);
    if offsets && (scale - 2.0).abs() > 1e-3 {
        let reason = "it is true; it is supported only with a `rescale_factor` of 1/127.5";
        return Err(config.error("rescale_offset", reason));
    }
    let offset = if offsets { 1.0 } else { 0.0 };
    let twice = class.scheme == Scheme::EfficientNet && config.get("include_top")?.unwrap_or(true);
    let of = |channel: usize| {
        let std_again = if twice { stated_std[channel] } else { 1.0 };
        (
            ((offset + mean[channel]) / scale) as f32,
            (std[channel] * std_again / scale) as f32,
        )
    };
    let channels = [of(0), of(1), of(2)];
    Ok((channels.map(|(mean, _)| mean), channels.map(|(_, std)| std)))
}

/// One number for all channels, or one for each; grey images have one.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Statistics {
    All(f32),
    Each([f32; 3]),
    Grey([f32; 1]),
}

impl Statistics {
    fn channels(self) -> [f32; 3] {
        match self {
            Self::All(value) | Self::Grey([value]) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// The sides of ConvNext's processor.
fn convnext(config: &Document, class: &Class) -> Result<(Resize, u32)> {
    let size = match config.get("size")?.unwrap_or(class.size) {
        Size::Number(size)
        | Size::Shortest {
            shortest_edge: size,
        } => size,
        Size::Both { .. } => {
            return Err(config.error(
                "size",
                "it has a height and a width; a ConvNext processor needs `shortest_edge`",
            ));
        }
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

/// The sides of every other processor: resize, then an optional crop.
fn sides(config: &Document, class: &Class) -> Result<(Resize, u32)> {
    let square = |field: &str, size| match size {
        Size::Number(side) => Ok(side),
        Size::Both { height, width } if height == width => Ok(height),
        _ => Err(config.error(field, "it is not square; only equal sides are supported")),
    };
    let (crop, crops) = class.crop;
    let crop = if config.get("do_center_crop")?.unwrap_or(crops) {
        let size = config.get("crop_size")?.unwrap_or(Size::Number(crop));
        Some(square("crop_size", size)?)
    } else {
        None
    };
    let is_square = matches!(class.scheme, Scheme::Square | Scheme::EfficientNet);
    let size = match config.get("size")?.unwrap_or(class.size) {
        Size::Number(side) if is_square => both(side),
        Size::Number(side) => shortest(side),
        size => size,
    };
    match (size, crop) {
        (Size::Shortest { shortest_edge: edge }, Some(crop)) => {
            let edge = match class.scheme {
                Scheme::Levit => (256.0 / 224.0 * f64::from(edge)) as u32,
                _ => edge,
            };
            Ok((Resize::ShortSide(edge), crop))
        }
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
fn interpolation(config: &Document, default: u32) -> Result<Interpolation> {
    match config.get::<u32>("resample")?.unwrap_or(default) {
        0 => Ok(Interpolation::Nearest),
        1 => Ok(Interpolation::Lanczos),
        2 => Ok(Interpolation::Bilinear),
        3 => Ok(Interpolation::Bicubic),
        other => Err(config.error(
            "resample",
            format!("it is {other}; Pillow's filters 0 to 3 are supported"),
        )),
    }
}
