//! timm's `config.json`: the architecture by name, and `pretrained_cfg`.

use std::collections::BTreeMap;

use super::Document;
use crate::error::Result;
use crate::facts::Facts;
use crate::labels::{Label, Labels};
use crate::recipe::{Interpolation, Recipe, Resize};

pub(super) fn facts(config: &Document) -> Result<Facts> {
    config.only("global_pool", "avg".to_owned())?;
    Ok(Facts {
        architecture: config.get("architecture")?,
        recipe: Some(recipe(&config.below("pretrained_cfg"))?),
        labels: labels(config)?,
        ..Facts::default()
    })
}

/// timm's evaluation transform: resize to the input size over the crop
/// percentage, then crop from the centre.
fn recipe(config: &Document) -> Result<Recipe> {
    let [channels, height, width] = config.get("input_size")?.unwrap_or([3, 224, 224]);
    if channels != 3 || height != width || !(1..=u64::from(u32::MAX)).contains(&height) {
        let fault = format!(
            "{:?}; a square of 3 channels is offered",
            [channels, height, width]
        );
        return Err(config.fault("input_size", fault));
    }
    let percentage: f64 = config.get("crop_pct")?.unwrap_or(0.875);
    // A saturating cast: what is absurd stays so and is refused below.
    let side = (height as f64 / percentage).floor() as u32;
    let resize = match config.get::<String>("crop_mode")?.as_deref() {
        None | Some("center") => Resize::ShortSide(side),
        Some("squash") => Resize::Exact(side),
        Some(mode) => {
            return Err(config.fault(
                "crop_mode",
                format!("{mode:?}; center and squash are offered"),
            ));
        }
    };
    let recipe = Recipe {
        resize,
        crop: height as u32,
        interpolation: config
            .get("interpolation")?
            .unwrap_or(Interpolation::Bicubic),
        mean: config.get("mean")?.unwrap_or(Recipe::imagenet().mean),
        std: config.get("std")?.unwrap_or(Recipe::imagenet().std),
    };
    recipe
        .checked()
        .map_err(|fault| config.fault("pretrained_cfg", fault))
}

/// `label_names` in the order of the classes; where those are wnids, the
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
