//! transformers: the `config.json` of a `ResNetForImageClassification`.

use serde_json::Value;

use crate::activation::Activation;
use crate::config::document::Document;
use crate::error::Result;
use crate::labels::Labels;
use crate::metadata::Metadata;

pub(super) fn metadata(config: &Document) -> Result<Metadata> {
    config.require("model_type", "resnet".to_owned())?;
    config.require("hidden_act", "relu".to_owned())?;
    let channels = config.get::<usize>("num_channels")?.unwrap_or(3);
    // 1: see `grey`
    if ![1, 3].contains(&channels) {
        let reason = format!(
            "it is {channels}; 3 (RGB) and 1 (grey) are supported, because images have no other channels"
        );
        return Err(config.error("num_channels", reason));
    }
    config.require("downsample_in_first_stage", false)?;
    let strides_first = config.get("downsample_in_bottleneck")?.unwrap_or(false);
    Ok(Metadata {
        architecture: architecture(config, strides_first)?,
        labels: labels(config)?,
        activation: activation(config)?,
        channels: Some(channels),
        stride_on_first_1x1: Some(strides_first),
        pooled_shortcut: Some(false),
        ..Metadata::default()
    })
}

/// The name of the network in the table; `None` for unusual depths or widths,
/// where the tensors decide.
fn architecture(config: &Document, strides_first: bool) -> Result<Option<String>> {
    let block: Option<String> = config.get("layer_type")?;
    let block = block.as_deref().unwrap_or("bottleneck");
    let depths: Option<Vec<u32>> = config.get("depths")?;
    let widths: Option<Vec<u32>> = config.get("hidden_sizes")?;
    let stem: Option<u32> = config.get("embedding_size")?;
    let usual_widths = match block {
        "basic" => [64, 128, 256, 512],
        "bottleneck" => [256, 512, 1024, 2048],
        other => {
            return Err(config.error(
                "layer_type",
                format!("it is {other:?}; basic and bottleneck are supported"),
            ));
        }
    };
    // transformers' default widths are those of the bottleneck for both blocks
    let widths = widths.unwrap_or_else(|| vec![256, 512, 1024, 2048]);
    if widths != usual_widths || stem.unwrap_or(64) != 64 {
        return Ok(None);
    }
    let name = match (block, depths.as_deref().unwrap_or(&[3, 4, 6, 3])) {
        ("basic", [2, 2, 2, 2]) => "resnet18",
        ("basic", [3, 4, 6, 3]) => "resnet34",
        ("bottleneck", [2, 2, 2, 2]) => "resnet26",
        ("bottleneck", [3, 4, 6, 3]) => "resnet50",
        ("bottleneck", [3, 4, 23, 3]) => "resnet101",
        ("bottleneck", [3, 8, 36, 3]) => "resnet152",
        ("bottleneck", [3, 24, 36, 3]) => "resnet200",
        _ => return Ok(None),
    };
    let first = block == "bottleneck" && strides_first;
    Ok(Some(format!("{name}{}", if first { "_v1" } else { "" })))
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
