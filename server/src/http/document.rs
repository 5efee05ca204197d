//! JSON as the APIs of other servers send images in it: text is borrowed from
//! the body, and nested lists of numbers become one tensor, so that a document
//! takes little more memory than its text.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::core::limits::MAX_IMAGES;
use crate::core::sent::Tensor;

/// Values of a document outside of tensors. Many short values would take much more
/// memory than their text.
const MOST_VALUES: usize = 16 * MAX_IMAGES;

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// Lists of numbers of equal lengths, nested or not.
    Tensor(Tensor),
    /// Any other list.
    List(Vec<Node<'a>>),
    /// In the order of the document.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Parses a document.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let mut parser = serde_json::Deserializer::from_slice(text);
        let values = Cell::new(0);
        let node = Seed(&values).deserialize(&mut parser);
        let node = node.and_then(|node| parser.end().map(|()| node));
        node.map_err(|error| format!("the JSON cannot be parsed: {error}"))
    }

    /// The value of `key`, removed from an object.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        let Self::Object(pairs) = self else {
            return None;
        };
        let index = pairs.iter().position(|(name, _)| name == key)?;
        Some(pairs.swap_remove(index).1)
    }

    /// The value of the first of `keys` that an object has, removed from it.
    pub(super) fn take_any(&mut self, keys: &[&str]) -> Option<Self> {
        keys.iter().find_map(|key| self.take(key))
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that is not negative and has no fraction.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::Number(number) if number.fract() == 0.0 && *number >= 0.0 => {
                Some(*number as usize)
            }
            _ => None,
        }
    }
}

/// Text of a document as bytes, without a copy where it is borrowed from `body`.
pub(super) fn bytes_of(text: Cow<'_, str>, body: &Bytes) -> Bytes {
    match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    }
}

/// The bytes that parsing copies. Of a number, two characters become four bytes, in a
/// vector whose capacity doubles when it is full, and one more byte as a pixel. Text
/// with escapes is copied twice.
pub(crate) fn copies(body: &[u8]) -> usize {
    4 * body.len()
}

/// Parses a value, and counts it.
#[derive(Clone, Copy)]
struct Seed<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let values = self.0.get() + 1;
        if values > MOST_VALUES {
            let error = format!("it has more than {MOST_VALUES} values");
            return Err(de::Error::custom(error));
        }
        self.0.set(values);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        // A list starts with this number: see `visit_seq`.
        Ok(Node::Tensor(Tensor {
            shape: Vec::new(),
            values: vec![value as f32],
            has_fractions: true,
        }))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let Node::Text(key) = key else {
                return Err(de::Error::custom("a key is not a string"));
            };
            pairs.push((key, scalar(map.next_value_seed(self)?)));
        }
        Ok(Node::Object(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let Some(first) = items.next_element_seed(self)? else {
            return Ok(Node::List(Vec::new()));
        };
        match first {
            Node::Number(number) => {
                let tensor = Tensor {
                    values: vec![number as f32],
                    ..Tensor::default()
                };
                rest_of(tensor, items).map(Node::Tensor)
            }
            Node::Tensor(tensor) => rest_of(tensor, items).map(Node::Tensor),
            first => {
                let mut list = vec![first];
                while let Some(item) = items.next_element_seed(self)? {
                    list.push(scalar(item));
                }
                Ok(Node::List(list))
            }
        }
    }
}

/// A number with a fraction outside of a list.
fn scalar(node: Node<'_>) -> Node<'_> {
    match node {
        Node::Tensor(tensor) if tensor.shape.is_empty() => {
            Node::Number(tensor.values.first().copied().unwrap_or_default().into())
        }
        node => node,
    }
}

/// The items of a list that starts with `first`, which they must be like.
fn rest_of<'de, A: SeqAccess<'de>>(first: Tensor, mut items: A) -> Result<Tensor, A::Error> {
    let mut tensor = first;
    let inner = std::mem::take(&mut tensor.shape);
    let mut length = 1;
    loop {
        let row = Row {
            shape: &inner,
            tensor: &mut tensor,
        };
        match items.next_element_seed(row)? {
            Some(()) => length += 1,
            None => break,
        }
    }
    tensor.shape = [&[length], &inner[..]].concat();
    Ok(tensor)
}

/// Appends a value of this shape to the values of a tensor.
struct Row<'t> {
    shape: &'t [usize],
    tensor: &'t mut Tensor,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Row<'_> {
    fn push<E: de::Error>(self, value: f64) -> Result<(), E> {
        match self.shape {
            [] => {
                self.tensor.values.push(value as f32);
                Ok(())
            }
            _ => Err(E::custom("a list of lists has a number as an item")),
        }
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            [] => f.write_str("a number, like the item before it"),
            [length, ..] => write!(f, "a list of {length} items, like the item before it"),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.push(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.push(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.tensor.has_fractions = true;
        self.push(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let [expected, inner @ ..] = self.shape else {
            return Err(de::Error::custom("a list of numbers has a list as an item"));
        };
        for length in 0..*expected {
            let row = Row {
                shape: inner,
                tensor: &mut *self.tensor,
            };
            if items.next_element_seed(row)?.is_none() {
                return Err(de::Error::invalid_length(length, &self));
            }
        }
        match items.next_element::<de::IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(de::Error::invalid_length(expected + 1, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node<'_>, String> {
        Node::parse(text.as_bytes())
    }

    fn tensor(shape: &[usize], values: &[f32], has_fractions: bool) -> Node<'static> {
        Node::Tensor(Tensor {
            shape: shape.to_vec(),
            values: values.to_vec(),
            has_fractions,
        })
    }

    #[test]
    fn nested_lists_of_numbers_are_one_tensor() {
        let cases = [
            ("[1, 2, 3]", tensor(&[3], &[1.0, 2.0, 3.0], false)),
            ("[0.5]", tensor(&[1], &[0.5], true)),
            (
                "[[[0.5, 1]], [[2, -3]]]",
                tensor(&[2, 1, 2], &[0.5, 1.0, 2.0, -3.0], true),
            ),
            (
                "[[[1, 1]], [[2, 3e1]]]",
                tensor(&[2, 1, 2], &[1.0, 1.0, 2.0, 30.0], true),
            ),
            ("[]", Node::List(Vec::new())),
            ("0.25", tensor(&[], &[0.25], true)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn lists_that_are_no_tensor_are_errors_where_they_start_like_one() {
        for text in [
            "[[1, 2], [3]]",
            "[[1, 2], [3, 4, 5]]",
            "[1, [2]]",
            "[[1], 2]",
            "[1, \"a\"]",
            "[1, NaN]",
            "[1] 2",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_borrowed_and_objects_are_searched_by_key() {
        let body = Bytes::from_static(br#"{"a": {"b64": "/9j/"}, "k": 5, "x": 0.5, "n": null}"#);
        let mut node = Node::parse(&body).unwrap();
        assert_eq!(node.take("k").unwrap().count(), Some(5));
        assert_eq!(node.take("x"), Some(Node::Number(0.5)));
        assert_eq!(node.take("n"), Some(Node::Null));
        let Some(Node::Text(text)) = node.take("a").unwrap().take_any(&["data", "b64"]) else {
            panic!("no text");
        };
        assert!(matches!(text, Cow::Borrowed(_)));
        assert_eq!(bytes_of(text, &body), "/9j/");
        assert_eq!(node.take("a"), None);
        for text in ["-1", "0.5", "\"5\""] {
            assert_eq!(parse(text).unwrap().count(), None, "{text}");
        }
    }

    #[test]
    fn many_values_are_refused() {
        let list = format!("[{}\"\"]", "\"\",".repeat(MOST_VALUES));
        assert!(parse(&list).unwrap_err().contains("values"));
        let object: Vec<String> = (0..MOST_VALUES).map(|i| format!("\"{i}\":1")).collect();
        let object = format!("{{{}}}", object.join(","));
        assert!(parse(&object).unwrap_err().contains("values"));
        let lists = format!("[{}[]]", "[],".repeat(MOST_VALUES));
        assert!(parse(&lists).unwrap_err().contains("values"));
        assert!(parse(&"[".repeat(1000)).is_err());
        let numbers = format!("[{}0]", "0,".repeat(4 * MOST_VALUES));
        assert!(parse(&numbers).is_ok());
    }
}
