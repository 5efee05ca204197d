//! What a checkpoint says of itself beside its tensors, and how this
//! project's safetensors files carry it in their metadata.

use std::collections::BTreeMap;

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
    /// tell.
    pub pooled_shortcut: Option<bool>,
}

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
        })
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

fn labels(text: &str) -> Parsed<Labels> {
    if text == IMAGENET {
        Ok(Labels::imagenet1k())
    } else {
        Labels::from_json(text)
    }
}
