//! The configuration files that lie beside published weights: which network,
//! how a photo is prepared, what the classes are called.

mod timm;
mod transformers;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::facts::Facts;

/// What a JSON document says, and where it came from, for messages.
pub(crate) struct Document {
    origin: String,
    value: Value,
}

impl Document {
    /// Parses a configuration file.
    pub(crate) fn parse(origin: &str, text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|e| Error::malformed(origin, format!("it is no JSON: {e}")))?;
        Ok(Self {
            origin: origin.to_owned(),
            value,
        })
    }

    /// The document below `field`, or itself where there is no such object.
    fn below(&self, field: &str) -> Self {
        let value = self.value.get(field).filter(|value| value.is_object());
        Self {
            origin: self.origin.clone(),
            value: value.unwrap_or(&self.value).clone(),
        }
    }

    /// The value of a field, if it is there and not null.
    fn get<T: serde::de::DeserializeOwned>(&self, field: &str) -> Result<Option<T>> {
        match self.value.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let parsed = serde_json::from_value(value.clone());
                parsed
                    .map(Some)
                    .map_err(|e| self.fault(field, e.to_string()))
            }
        }
    }

    /// Insists on a value where the field is given at all.
    fn only<T>(&self, field: &str, offered: T) -> Result<()>
    where
        T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        match self.get::<T>(field)? {
            Some(value) if value != offered => {
                Err(self.fault(field, format!("{value:?}; only {offered:?} is offered")))
            }
            _ => Ok(()),
        }
    }

    fn fault(&self, field: &str, fault: impl Into<String>) -> Error {
        Error::field(&self.origin, field, fault)
    }
}

/// What `config.json` and, if there is one, `preprocessor_config.json` say.
pub(crate) fn facts(config: &Document, preprocessor: Option<&Document>) -> Result<Facts> {
    if config.value.get("pretrained_cfg").is_some() || config.value.get("architecture").is_some() {
        timm::facts(config)
    } else {
        transformers::facts(config, preprocessor)
    }
}
