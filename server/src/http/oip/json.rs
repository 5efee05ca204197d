//! Values of a request's JSON, within bounds: a small body must not become large
//! in memory.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::http::json_text::TextSeed;

/// Most parameters of a request, an input or an output.
const MOST_PARAMETERS: usize = 64;

/// The largest depth of nested arrays and objects.
const MOST_DEPTH: usize = 100;

/// Whether arrays and objects are nested deeper than any request needs.
pub(super) fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MOST_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// An object. serde would also take an array, for the values of the fields in their
/// order.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A list of at most `MOST` values.
pub(super) struct Few<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FewVisitor<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MOST} values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            if values.len() == MOST {
                return Err(de::Error::invalid_length(MOST + 1, &self));
            }
            values.push(value);
        }
        Ok(Few(values))
    }
}

/// The parameters of a request, an input or an output.
#[derive(Default)]
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Parameter<'a>)>);

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter<'a> {
    Bool(bool),
    Unsigned(u64),
    /// Negative or with a fraction.
    Number,
    Text(Cow<'a, str>),
    Null,
}

impl<'a> Parameters<'a> {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Parameter<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The last value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Parameter<'a>> {
        let mut found = self.0.iter().rev();
        found
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    /// A truth value; false without one.
    ///
    /// # Errors
    /// Another type.
    pub(super) fn bool(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(Parameter::Bool(value)) => Ok(*value),
            Some(_) => Err(format!("Unable to parse '{name}': expected a boolean")),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// Another type.
    pub(super) fn unsigned(&self, name: &str) -> Result<Option<u64>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Parameter::Unsigned(value)) => Ok(Some(*value)),
            Some(_) => Err(format!(
                "Unable to parse '{name}': expected an unsigned integer"
            )),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MOST_PARAMETERS} parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(name) = entries.next_key_seed(TextSeed)? {
            if found.len() == MOST_PARAMETERS {
                return Err(de::Error::invalid_length(MOST_PARAMETERS + 1, &self));
            }
            found.push((name, entries.next_value()?));
        }
        Ok(Parameters(found))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parameter<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParameterVisitor)
    }
}

struct ParameterVisitor;

impl<'de> Visitor<'de> for ParameterVisitor {
    type Value = Parameter<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a boolean or a string as the value of a parameter")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Parameter::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Parameter::Unsigned(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Parameter::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Parameter::Number)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Parameter::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Parameter::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Parameter::Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_too_deep(nested(100).as_bytes()));
        assert!(is_too_deep(nested(101).as_bytes()));
        assert!(!is_too_deep(format!("\"\\\"{}\"", nested(101)).as_bytes()));
        assert!(!is_too_deep("[]".repeat(1000).as_bytes()));
    }

    #[test]
    fn lists_and_parameters_are_bounded_and_parameters_have_simple_values() {
        let few = |json: &str| serde_json::from_str::<Few<i64, 2>>(json).map(|few| few.0);
        assert_eq!(few("[1, -2]").unwrap(), [1, -2]);
        assert!(few("[1, 2, 3]").is_err());
        let parameters: Parameters<'_> =
            serde_json::from_str(r#"{"a": true, "b": 7, "c": "x\n", "d": -1.5, "b": 8}"#).unwrap();
        assert_eq!(parameters.bool("a"), Ok(true));
        assert_eq!(parameters.bool("z"), Ok(false));
        assert!(parameters.bool("b").is_err());
        assert_eq!(parameters.unsigned("b"), Ok(Some(8)));
        assert!(parameters.unsigned("d").is_err());
        assert_eq!(parameters.get("c"), Some(&Parameter::Text("x\n".into())));
        for wrong in [r#"{"a": []}"#, r#"{"a": {}}"#, "[]"] {
            assert!(
                serde_json::from_str::<Parameters<'_>>(wrong).is_err(),
                "{wrong}"
            );
        }
        let many: Vec<String> = (0..65).map(|i| format!("\"{i}\": 1")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert!(serde_json::from_str::<Parameters<'_>>(&many).is_err());
    }
}
