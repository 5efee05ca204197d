//! A JSON configuration file with typed access to its fields. Errors name the
//! file and the field.

use serde_json::Value;

use crate::error::{Error, Result};

/// A JSON document and the file it is from.
pub(crate) struct Document {
    origin: String,
    value: Value,
}

impl Document {
    /// Parses a configuration file.
    pub(crate) fn parse(origin: &str, text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|e| Error::malformed(origin, format!("it is not valid JSON: {e}")))?;
        Ok(Self {
            origin: origin.to_owned(),
            value,
        })
    }

    /// The file.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The fields of the document.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.as_str(), value))
    }

    /// Whether the document has a field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.value.get(field).is_some()
    }

    /// The object in `field`, or the document itself if there is no such object.
    pub(super) fn nested(&self, field: &str) -> Self {
        let value = self.value.get(field).filter(|value| value.is_object());
        Self {
            origin: self.origin.clone(),
            value: value.unwrap_or(&self.value).clone(),
        }
    }

    /// The object in `field`, or an empty one.
    pub(super) fn nested_or_empty(&self, field: &str) -> Result<Self> {
        let value = self.get::<serde_json::Map<String, Value>>(field)?;
        Ok(Self {
            origin: self.origin.clone(),
            value: Value::Object(value.unwrap_or_default()),
        })
    }

    /// The value of a field; `None` if it is absent or null.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, field: &str) -> Result<Option<T>> {
        match self.value.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let parsed = serde_json::from_value(value.clone());
                parsed
                    .map(Some)
                    .map_err(|e| self.error(field, e.to_string()))
            }
        }
    }

    /// Rejects any value of a field but `supported`. The field may be absent.
    pub(super) fn require<T>(&self, field: &str, supported: T) -> Result<()>
    where
        T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        match self.get::<T>(field)? {
            Some(value) if value != supported => Err(self.error(
                field,
                format!("it is {value:?}; only {supported:?} is supported"),
            )),
            _ => Ok(()),
        }
    }

    /// The error of an invalid field.
    pub(super) fn error(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::field(&self.origin, field, reason)
    }
}
