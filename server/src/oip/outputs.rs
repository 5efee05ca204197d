//! From the results of a request's images to its output tensors.

use model::Outputs;
use weights::Labels;

use super::failure::Failure;
use super::tensor::Datatype;
use crate::core::batch::ImageOutput;
use crate::core::embedding::embedding;
use crate::core::error::Error;
use crate::core::explain::{Classes, explain};
use crate::core::instance::Instance;
use crate::core::top_k::top_k;

/// What a model can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// FP32 `[N, classes]`. The only one that the metadata declares: many clients
    /// accept only models with one output.
    Logits,
    /// FP32 `[N, classes]`, after the model's activation.
    Probabilities,
    /// FP32 `[N, C]`.
    Embedding,
    /// FP32 `[N, H, W]`, the class activation map of the most probable class.
    Heatmap,
}

/// An output that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which one.
    pub output: Output,
    /// The classification extension: this many of the largest values, as text; 0
    /// for the tensor itself.
    pub classes: usize,
    /// Whether it is returned as bytes.
    pub binary: bool,
}

/// A tensor of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// Its name.
    pub name: &'static str,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: OutputData,
    /// Whether it is returned as bytes.
    pub binary: bool,
}

/// The elements of a tensor of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputData {
    /// FP32.
    Floats(Vec<f32>),
    /// BYTES.
    Strings(Vec<String>),
}

impl Output {
    const ALL: [Self; 4] = [
        Self::Logits,
        Self::Probabilities,
        Self::Embedding,
        Self::Heatmap,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Embedding => "embedding",
            Self::Heatmap => "heatmap",
        }
    }

    /// The output of this name.
    ///
    /// # Errors
    /// Any other name.
    pub fn find(name: &str, model: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|output| output.name() == name);
        found.ok_or_else(|| {
            Failure::Invalid(format!(
                "unexpected inference output '{name}' for model '{model}'; the outputs are {}",
                Self::ALL.map(Self::name).join(", ")
            ))
        })
    }
}

impl Wanted {
    /// The output of requests that name none.
    #[must_use]
    pub fn default_output(binary: bool) -> Self {
        Self {
            output: Output::Logits,
            classes: 0,
            binary,
        }
    }
}

impl OutputData {
    /// Its type.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Floats(_) => Datatype::Fp32,
            Self::Strings(_) => Datatype::Bytes,
        }
    }

    /// Its elements as bytes.
    #[must_use]
    pub fn to_raw(&self) -> Vec<u8> {
        match self {
            Self::Floats(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Strings(texts) => {
                let mut raw = Vec::new();
                for text in texts {
                    raw.extend((text.len() as u32).to_le_bytes());
                    raw.extend(text.bytes());
                }
                raw
            }
        }
    }
}

/// What a forward pass has to return for these outputs.
///
/// # Errors
/// A model that has no heat maps.
pub fn needed(wanted: &[Wanted], instance: &Instance) -> Result<Outputs, Failure> {
    let wants = |output| wanted.iter().any(|wanted| wanted.output == output);
    if wants(Output::Heatmap) {
        instance.network().has_class_maps().map_err(Error::from)?;
    }
    Ok(Outputs {
        embedding: wants(Output::Embedding),
        feature_map: wants(Output::Heatmap),
    })
}

/// The work of [`outputs`], in values that are written. A heat map is a sum over all
/// channels of the feature map.
#[must_use]
pub fn size(wanted: &[Wanted], images: &[ImageOutput]) -> usize {
    let values =
        |image: &ImageOutput| image.logits.len() + image.feature_map.as_ref().map_or(0, Vec::len);
    images.iter().map(values).sum::<usize>() * wanted.len()
}

/// The tensors of a response to a request with these images, in the order of
/// `wanted`. It may take milliseconds.
///
/// # Errors
/// An error of the device, or a network that returned too little.
pub fn outputs(
    wanted: &[Wanted],
    instance: &Instance,
    images: &[ImageOutput],
) -> Result<Vec<OutputTensor>, Failure> {
    let tensor = |&wanted| tensor(wanted, instance, images).map_err(Failure::from);
    wanted.iter().map(tensor).collect()
}

fn tensor(
    wanted: Wanted,
    instance: &Instance,
    images: &[ImageOutput],
) -> Result<OutputTensor, Error> {
    let network = instance.network();
    let mut shape = vec![images.len()];
    let mut values = Vec::new();
    for image in images {
        match wanted.output {
            Output::Logits => values.extend_from_slice(&image.logits),
            Output::Probabilities => {
                let probabilities = network.scale().values(&image.logits);
                values.extend(probabilities.into_iter().map(|value| value as f32));
            }
            Output::Embedding => {
                let size = network.info().embedding_size;
                values.extend(embedding(image.embedding.clone(), size, false)?);
            }
            Output::Heatmap => {
                let maps = explain(network, image, &Classes::MostProbable(1))?;
                values.extend(maps.into_iter().flat_map(|map| map.grid.values));
            }
        }
    }
    let [height, width, _] = network.info().feature_map;
    match wanted.output {
        Output::Logits | Output::Probabilities => shape.push(network.labels().len()),
        Output::Embedding => shape.push(network.info().embedding_size),
        Output::Heatmap => shape.extend([height, width]),
    }
    let data = match wanted.classes {
        0 => OutputData::Floats(values),
        most => {
            let size: usize = shape[1..].iter().product();
            let most = most.min(size);
            shape = vec![images.len(), most];
            let labels = match wanted.output {
                Output::Logits | Output::Probabilities => Some(network.labels()),
                Output::Embedding | Output::Heatmap => None,
            };
            OutputData::Strings(classification(&values, size, most, labels))
        }
    };
    Ok(OutputTensor {
        name: wanted.output.name(),
        shape,
        data,
        binary: wanted.binary,
    })
}

/// The largest values of each image, as `VALUE:INDEX:LABEL`.
fn classification(
    values: &[f32],
    size: usize,
    most: usize,
    labels: Option<&Labels>,
) -> Vec<String> {
    let mut texts = Vec::new();
    for row in values.chunks_exact(size.max(1)) {
        for index in top_k(row, 0..size, most) {
            let label = labels.and_then(|labels| labels.get(index));
            let label = label.map_or(String::new(), |label| format!(":{}", label.name));
            texts.push(format!("{:.6}:{index}{label}", row[index]));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_are_texts_with_six_decimals() {
        let labels = Labels::from_names(["cat", "dog", "a: b"].map(str::to_owned));
        let values = [0.25, 3.5, -1.0, 1.0 / 3.0, -0.0, 20.0];
        assert_eq!(
            classification(&values, 3, 2, Some(&labels)),
            [
                "3.500000:1:dog",
                "0.250000:0:cat",
                "20.000000:2:a: b",
                "0.333333:0:cat"
            ]
        );
        assert_eq!(classification(&values, 6, 1, None), ["20.000000:5"]);
    }

    #[test]
    fn raw_elements_are_little_endian_and_strings_follow_their_length() {
        let floats = OutputData::Floats(vec![1.0, -2.0]);
        assert_eq!(floats.to_raw(), [0, 0, 128, 63, 0, 0, 0, 192]);
        let strings = OutputData::Strings(vec!["ä".into(), String::new()]);
        assert_eq!(strings.to_raw(), [2, 0, 0, 0, 0xc3, 0xa4, 0, 0, 0, 0]);
    }
}
