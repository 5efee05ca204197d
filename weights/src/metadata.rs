//! The metadata of a checkpoint, and its encoding in the safetensors files that
//! this project writes.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;
use crate::labels::Labels;
use crate::preprocessing::{Interpolation, Preprocessing, Resize};

/// The metadata of a checkpoint. A field is `None` when the checkpoint does not
/// contain it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Name of the architecture, as the author of the checkpoint gives it.
    pub architecture: Option<String>,
    /// Preprocessing of images.
    pub preprocessing: Option<Preprocessing>,
    /// Labels of the classes.
    pub labels: Option<Labels>,
    /// Number of classes that the configuration states.
    pub classes: Option<usize>,
    /// Number of input channels that the configuration states: 3, or 1 for grey
    /// images.
    pub channels: Option<usize>,
    /// The function that turns outputs into probabilities.
    pub activation: Option<Activation>,
    /// Whether a bottleneck block has its stride on the first 1x1 convolution
    /// (He 2015) instead of the 3x3. The shapes of the tensors are the same.
    pub stride_on_first_1x1: Option<bool>,
    /// Whether a projection shortcut begins with average pooling (ResNet-D). The
    /// shapes of the tensors are the same; where the architecture is not named,
    /// the names of the tensors may show it.
    pub pooled_shortcut: Option<bool>,
    /// Of an 8-bit checkpoint, the range of each layer's output.
    pub ranges: Option<Ranges>,
    /// What the logits are divided by before they become probabilities (Guo et
    /// al. 2017): above 1 for a network that is too sure of its answers.
    pub temperature: Option<f64>,
    /// The categories above the classes, where they are not `WordNet`'s.
    pub hierarchy: Option<Hierarchy>,
}

/// The lowest and the highest output of each layer, by the layer's name.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// The JSON of `preprocess`, in torchvision's terms: `resize` is one number for
/// the short side or a pair for both sides.
#[derive(Serialize, Deserialize)]
struct PreprocessingJson {
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

/// The JSON of `spec`: properties of the architecture that the shapes of the
/// tensors do not show.
#[derive(Default, Serialize, Deserialize)]
struct SpecJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stride_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shortcut: Option<String>,
}

/// Values of `stride_on`: false, true.
const STRIDE_ON: [&str; 2] = ["conv2", "conv1"];
/// Values of `shortcut`: false, true.
const SHORTCUT: [&str; 2] = ["conv1x1", "avgpool_conv1x1"];
/// Value of `labels` for the labels of ImageNet-1k.
const IMAGENET: &str = "imagenet-1k";

fn yes() -> bool {
    true
}

impl Metadata {
    /// Parses the string map of a safetensors file. Unknown keys are ignored.
    pub(crate) fn parse(origin: &str, strings: &BTreeMap<String, String>) -> Result<Self> {
        let strings = Strings { origin, strings };
        let spec = strings.parse("spec", spec)?.unwrap_or_default();
        Ok(Self {
            architecture: strings.strings.get("architecture").cloned(),
            preprocessing: strings.parse("preprocess", preprocessing)?,
            labels: strings.parse("labels", labels)?,
            classes: None,
            channels: None,
            activation: strings.parse("activation", activation)?,
            stride_on_first_1x1: strings.flag("stride_on", spec.stride_on, STRIDE_ON)?,
            pooled_shortcut: strings.flag("shortcut", spec.shortcut, SHORTCUT)?,
            ranges: strings.parse("ranges", ranges)?,
            temperature: strings.parse("temperature", temperature)?,
            hierarchy: strings.parse("hierarchy", Hierarchy::parse)?,
        })
    }

    /// The string map that [`Metadata::parse`] reads.
    pub(crate) fn to_strings(&self) -> serde_json::Result<HashMap<String, String>> {
        let mut strings = HashMap::new();
        let mut set = |key: &str, value| strings.insert(key.to_owned(), value);
        if let Some(architecture) = &self.architecture {
            set("architecture", architecture.clone());
        }
        if let Some(preprocessing) = &self.preprocessing {
            let json = PreprocessingJson::from(preprocessing);
            set("preprocess", serde_json::to_string(&json)?);
        }
        if let Some(labels) = &self.labels {
            let text = if *labels == Labels::imagenet1k() {
                IMAGENET.into()
            } else {
                labels.to_json()
            };
            set("labels", text);
        }
        if let Some(activation) = self.activation {
            set("activation", activation.name().to_owned());
        }
        let name = |value: Option<bool>, names: [&str; 2]| {
            value.map(|value| names[usize::from(value)].to_owned())
        };
        let spec = SpecJson {
            stride_on: name(self.stride_on_first_1x1, STRIDE_ON),
            shortcut: name(self.pooled_shortcut, SHORTCUT),
        };
        set("spec", serde_json::to_string(&spec)?);
        if let Some(ranges) = &self.ranges {
            set("ranges", serde_json::to_string(ranges)?);
        }
        if let Some(temperature) = self.temperature {
            set("temperature", temperature.to_string());
        }
        if let Some(hierarchy) = &self.hierarchy {
            set("hierarchy", hierarchy.to_text());
        }
        Ok(strings)
    }

    /// This metadata; fields that are `None` are taken from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            architecture: self.architecture.or(other.architecture),
            preprocessing: self.preprocessing.or(other.preprocessing),
            labels: self.labels.or(other.labels),
            classes: self.classes.or(other.classes),
            channels: self.channels.or(other.channels),
            activation: self.activation.or(other.activation),
            stride_on_first_1x1: self.stride_on_first_1x1.or(other.stride_on_first_1x1),
            pooled_shortcut: self.pooled_shortcut.or(other.pooled_shortcut),
            ranges: self.ranges.or(other.ranges),
            temperature: self.temperature.or(other.temperature),
            hierarchy: self.hierarchy.or(other.hierarchy),
        }
    }
}

impl From<&Preprocessing> for PreprocessingJson {
    fn from(preprocessing: &Preprocessing) -> Self {
        let resize = match preprocessing.resize {
            Resize::ShortSide(side) => Sides::Short(side),
            Resize::Exact(side) => Sides::Both([side, side]),
        };
        Self {
            resize,
            crop: preprocessing.crop,
            interpolation: preprocessing.interpolation,
            antialias: true,
            mean: preprocessing.mean,
            std: preprocessing.std,
        }
    }
}

/// The string map of one file.
struct Strings<'a> {
    origin: &'a str,
    strings: &'a BTreeMap<String, String>,
}

impl Strings<'_> {
    fn parse<T>(
        &self,
        field: &str,
        parse: impl Fn(&str) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let text = self.strings.get(field);
        let parsed = text.map(|text| parse(text)).transpose();
        parsed.map_err(|reason| Error::field(self.origin, field, reason))
    }

    /// Whether `value` of a field of `spec` is the name for false or the name for
    /// true.
    fn flag(&self, field: &str, value: Option<String>, names: [&str; 2]) -> Result<Option<bool>> {
        let Some(value) = value else {
            return Ok(None);
        };
        match names.iter().position(|name| *name == value) {
            Some(found) => Ok(Some(found == 1)),
            None => {
                let reason = format!(
                    "its `{field}` is {value:?}; {} and {} are supported",
                    names[0], names[1]
                );
                Err(Error::field(self.origin, "spec", reason))
            }
        }
    }
}

fn spec(text: &str) -> std::result::Result<SpecJson, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn preprocessing(text: &str) -> std::result::Result<Preprocessing, String> {
    let json: PreprocessingJson = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if !json.antialias {
        return Err("`antialias` is false; only true is supported".into());
    }
    let resize = match json.resize {
        Sides::Short(side) => Resize::ShortSide(side),
        Sides::Both([height, width]) if height == width => Resize::Exact(height),
        Sides::Both(sides) => {
            return Err(format!(
                "`resize` is {sides:?}; only equal sides are supported"
            ));
        }
    };
    Preprocessing {
        resize,
        crop: json.crop,
        interpolation: json.interpolation,
        mean: json.mean,
        std: json.std,
    }
    .checked()
}

fn ranges(text: &str) -> std::result::Result<Ranges, String> {
    let ranges: Ranges = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let is_range = |[low, high]: &[f32; 2]| low.is_finite() && high.is_finite() && low <= high;
    match ranges.iter().find(|(_, range)| !is_range(range)) {
        Some((layer, range)) => Err(format!(
            "the range of layer `{layer}` is {range:?}; both ends must be finite, the lower first"
        )),
        None => Ok(ranges),
    }
}

fn activation(text: &str) -> std::result::Result<Activation, String> {
    let known = [Activation::Softmax, Activation::Sigmoid, Activation::None];
    let found = known.into_iter().find(|known| known.name() == text);
    found.ok_or_else(|| format!("it is {text:?}; softmax, sigmoid and none are supported"))
}

fn temperature(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(temperature) if temperature.is_finite() && temperature > 0.0 => Ok(temperature),
        _ => Err(format!("it is {text:?}; it must be a number above 0")),
    }
}

fn labels(text: &str) -> std::result::Result<Labels, String> {
    if text == IMAGENET {
        Ok(Labels::imagenet1k())
    } else {
        Labels::from_json(text)
    }
}
