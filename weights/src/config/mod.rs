//! The JSON configuration files of published models: the architecture, the
//! preprocessing and the labels.

pub(crate) mod document;
mod processor;
mod timm;
mod transformers;

use crate::config::document::Document;
use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;
use crate::metadata::Metadata;
use crate::origin::{Configuration, Origin, Origins};

/// Fields of which the configuration of a model by transformers has one.
const OF_TRANSFORMERS: [&str; 4] = ["model_type", "architectures", "id2label", "depths"];

/// Whether the network's configuration alone describes the preprocessing, so that
/// `preprocessor_config.json` has no effect.
pub(crate) fn is_complete(config: &Document) -> bool {
    config.has("pretrained_cfg") || config.has("architecture")
}

/// The metadata in `config.json` and, if it exists, `preprocessor_config.json`.
pub(crate) fn metadata(
    config: &Document,
    preprocessor: Option<&Document>,
) -> Result<Configuration> {
    let hierarchy = hierarchy(config)?;
    if is_complete(config) {
        let metadata = Metadata {
            hierarchy,
            ..timm::metadata(config)?
        };
        let origins = Origins::of(&metadata, Origin::Config);
        return Ok(Configuration { metadata, origins });
    }
    if !OF_TRANSFORMERS.iter().any(|field| config.has(field)) {
        return Err(Error::malformed(
            config.origin(),
            "it is a configuration of neither timm nor transformers, so it does not say what the network beside it computes; remove it or move the weights to another folder",
        ));
    }
    let mut metadata = Metadata {
        hierarchy,
        ..transformers::metadata(config)?
    };
    let mut origins = Origins::of(&metadata, Origin::Config);
    if let Some(preprocessor) = preprocessor {
        metadata.preprocessing = Some(processor::preprocessing(preprocessor)?);
        origins.preprocessing = Some(Origin::Preprocessor);
    }
    Ok(Configuration { metadata, origins })
}

/// The text of a [`Hierarchy`], which this project adds to the fields of timm
/// and transformers.
fn hierarchy(config: &Document) -> Result<Option<Hierarchy>> {
    let text = config.get::<String>("hierarchy")?;
    let hierarchy = text.map(|text| Hierarchy::parse(&text)).transpose();
    hierarchy.map_err(|reason| config.error("hierarchy", reason))
}
