//! What a checkpoint says of itself beside its tensors, and how this
//! project's safetensors files carry it in their metadata.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::recipe::{Interpolation, Recipe, Resize};

/// What a checkpoint says of itself beside its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The architecture's name, as the one who wrote the checkpoint calls it.
    pub architecture: Option<String>,
    /// Preprocessing.
    pub recipe: Option<Recipe>,
    /// Class names.
    pub labels: Option<Labels>,
    /// Whether a bottleneck strides on its first 1x1 convolution (He 2015)
    /// rather than on its 3x3. Shapes do not tell.
    pub stride_on_first_1x1: Option<bool>,
    /// Whether a projection shortcut pools first (ResNet-D). Shapes do not
    /// tell; where the architecture is not named, the tensors' names may.
    pub pooled_shortcut: Option<bool>,
    /// Of a quantised checkpoint, the lowest and highest output of each layer.
    pub ranges: Option<Ranges>,
}

/// The lowest and highest value that each layer of a quantised network makes.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// The recipe in torchvision's words: one number resizes the short side, a
/// pair both sides.
#[derive(Serialize, Deserialize)]
struct Preprocess {
    resize: Sides,
    crop: u32,
    interpolation: Interpolation,
    #[serde(default = "yes")]
    antialias: bool,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Sides {
    Short(u32),
    Both([u32; 2]),
}

/// What of an architecture its tensors' shapes do not show.
#[derive(Default, Serialize, Deserialize)]
struct Spec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stride_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shortcut: Option<String>,
}

const STRIDE_ON: [&str; 2] = ["conv2", "conv1"];
const SHORTCUT: [&str; 2] = ["conv1x1", "avgpool_conv1x1"];
const IMAGENET: &str = "imagenet-1k";

fn yes() -> bool {
    true
}

impl Facts {
    /// Reads the metadata of a safetensors file. Keys of others are ignored.
    pub(crate) fn from_metadata(origin: &str, metadata: &BTreeMap<String, String>) -> Result<Self> {
        let field = Fields { origin, metadata };
        let spec = field.read("spec", spec)?.unwrap_or_default();
        Ok(Self {
            architecture: metadata.get("architecture").cloned(),
            recipe: field.read("preprocess", recipe)?,
            labels: field.read("labels", labels)?,
            stride_on_first_1x1: either(spec.stride_on, STRIDE_ON),
            pooled_shortcut: either(spec.shortcut, SHORTCUT),
            ranges: field.read("ranges", ranges)?,
        })
    }
}

impl Facts {
    /// The metadata that reads back as these facts.
    pub(crate) fn to_metadata(&self) -> serde_json::Result<HashMap<String, String>> {
        let mut metadata = HashMap::new();
        let mut set = |key: &str, value| metadata.insert(key.to_owned(), value);
        if let Some(architecture) = &self.architecture {
            set("architecture", architecture.clone());
        }
        if let Some(recipe) = &self.recipe {
            set(
                "preprocess",
                serde_json::to_string(&Preprocess::from(recipe))?,
            );
        }
        if let Some(labels) = &self.labels {
            let known = *labels == Labels::imagenet1k();
            set(
                "labels",
                if known {
                    IMAGENET.into()
                } else {
                    labels.to_json()
                },
            );
        }
        let name = |value: Option<bool>, names: [&str; 2]| {
            value.map(|value| names[usize::from(value)].to_owned())
        };
        let spec = Spec {
            stride_on: name(self.stride_on_first_1x1, STRIDE_ON),
            shortcut: name(self.pooled_shortcut, SHORTCUT),
        };
        set("spec", serde_json::to_string(&spec)?);
        if let Some(ranges) = &self.ranges {
            set("ranges", serde_json::to_string(ranges)?);
        }
        Ok(metadata)
    }

    /// These facts, and where they are silent, those of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            architecture: self.architecture.or(other.architecture),
            recipe: self.recipe.or(other.recipe),
            labels: self.labels.or(other.labels),
            stride_on_first_1x1: self.stride_on_first_1x1.or(other.stride_on_first_1x1),
            pooled_shortcut: self.pooled_shortcut.or(other.pooled_shortcut),
            ranges: self.ranges.or(other.ranges),
        }
    }
}

impl From<&Recipe> for Preprocess {
    fn from(recipe: &Recipe) -> Self {
        let resize = match recipe.resize {
            Resize::ShortSide(side) => Sides::Short(side),
            Resize::Exact(side) => Sides::Both([side, side]),
        };
        Self {
            resize,
            crop: recipe.crop,
            interpolation: recipe.interpolation,
            antialias: true,
            mean: recipe.mean,
            std: recipe.std,
        }
    }
}

/// The metadata of one file.
struct Fields<'a> {
    origin: &'a str,
    metadata: &'a BTreeMap<String, String>,
}

impl Fields<'_> {
    fn read<T>(&self, field: &str, parse: impl Fn(&str) -> Parsed<T>) -> Result<Option<T>> {
        let text = self.metadata.get(field);
        let parsed = text.map(|text| parse(text)).transpose();
        parsed.map_err(|fault| Error::field(self.origin, field, fault))
    }
}

/// A field's value, or what is wrong with it.
type Parsed<T> = std::result::Result<T, String>;

fn spec(text: &str) -> Parsed<Spec> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// Whether `value` is the first (no) or the second (yes) of two.
fn either(value: Option<String>, [no, yes]: [&str; 2]) -> Option<bool> {
    match value? {
        value if value == no => Some(false),
        value if value == yes => Some(true),
        _ => None,
    }
}

fn recipe(text: &str) -> Parsed<Recipe> {
    let preprocess: Preprocess = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if !preprocess.antialias {
        return Err("a resize without antialias is not offered".into());
    }
    let resize = match preprocess.resize {
        Sides::Short(side) => Resize::ShortSide(side),
        Sides::Both([height, width]) if height == width => Resize::Exact(height),
        Sides::Both(sides) => {
            return Err(format!("a resize to {sides:?}: only squares are offered"));
        }
    };
    Recipe {
        resize,
        crop: preprocess.crop,
        interpolation: preprocess.interpolation,
        mean: preprocess.mean,
        std: preprocess.std,
    }
    .checked()
}

fn ranges(text: &str) -> Parsed<Ranges> {
    let ranges: Ranges = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let odd = |[low, high]: &[f32; 2]| !(low.is_finite() && high.is_finite() && low <= high);
    match ranges.iter().find(|(_, range)| odd(range)) {
        Some((layer, range)) => Err(format!("{range:?} is no range, at `{layer}`")),
        None => Ok(ranges),
    }
}

fn labels(text: &str) -> Parsed<Labels> {
    if text == IMAGENET {
        Ok(Labels::imagenet1k())
    } else {
        Labels::from_json(text)
    }
}
