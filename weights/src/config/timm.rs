//! timm's `config.json`: the architecture by name, and `pretrained_cfg`.

use std::collections::BTreeMap;

use crate::config::document::Document;
use crate::error::Result;
use crate::labels::{Label, Labels};
use crate::metadata::Metadata;
use crate::preprocessing::{Interpolation, Preprocessing, Resize};

pub(super) fn metadata(config: &Document) -> Result<Metadata> {
    config.require("global_pool", "avg".to_owned())?;
    Ok(Metadata {
        architecture: config.get("architecture")?,
        preprocessing: Some(preprocessing(&config.nested("pretrained_cfg"))?),
        labels: labels(config)?,
        ..Metadata::default()
    })
}

/// timm's evaluation transform: resize to the input size over the crop
/// percentage, then crop from the centre.
fn preprocessing(config: &Document) -> Result<Preprocessing> {
    let [channels, height, width] = config.get("input_size")?.unwrap_or([3, 224, 224]);
    if channels != 3 || height != width || !(1..=u64::from(u32::MAX)).contains(&height) {
        let reason = format!(
            "it is {:?}; only 3 channels and equal sides are supported",
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
        mean: config
            .get("mean")?
            .unwrap_or(Preprocessing::imagenet().mean),
        std: config.get("std")?.unwrap_or(Preprocessing::imagenet().std),
    };
    preprocessing
        .checked()
        .map_err(|reason| config.error("pretrained_cfg", reason))
}

/// `label_names` in the order of the classes. If they are `WordNet` ids, the
/// names are in `label_descriptions`.
fn labels(config: &Document) -> Result<Option<Labels>> {
    let Some(names) = config.get::<Vec<String>>("label_names")? else {
        return Ok(None);
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
