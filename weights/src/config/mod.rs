//! The JSON configuration files of published models: the architecture, the
//! preprocessing and the labels.

pub(crate) mod document;
mod timm;
mod transformers;

use crate::config::document::Document;
use crate::error::Result;
use crate::metadata::Metadata;

/// The metadata in `config.json` and, if it exists, `preprocessor_config.json`.
pub(crate) fn metadata(config: &Document, preprocessor: Option<&Document>) -> Result<Metadata> {
    if config.has("pretrained_cfg") || config.has("architecture") {
        timm::metadata(config)
    } else {
        transformers::metadata(config, preprocessor)
    }
}
