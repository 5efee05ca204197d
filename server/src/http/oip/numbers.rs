//! The elements of a tensor in JSON: numbers become little-endian bytes, strings
//! stay where they are. Arrays may be flat or nested.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, SeqAccess, Unexpected, Visitor};

use crate::http::json_text::TextSeed;
use crate::oip::tensor::Datatype;

/// The little-endian bytes of exactly `count` numbers.
///
/// # Errors
/// Another number of them, and values that the type does not have.
pub(super) fn numbers(json: &str, datatype: Datatype, count: usize) -> Result<Vec<u8>, String> {
    let size = datatype.size().unwrap_or(1);
    let mut sink = Sink {
        datatype,
        bytes: Vec::with_capacity(count.saturating_mul(size)),
        left: count,
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = Items(&mut sink).deserialize(&mut deserializer);
    read.map_err(|error| error.to_string())?;
    match sink.left {
        0 => Ok(sink.bytes),
        left => Err(format!("{left} of {count} elements are missing")),
    }
}

/// Where elements go.
struct Sink {
    datatype: Datatype,
    bytes: Vec<u8>,
    left: usize,
}

impl Sink {
    fn take<E: de::Error>(&mut self) -> Result<(), E> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| E::custom("there are more elements than the shape has"))?;
        Ok(())
    }

    fn integer<E: de::Error>(&mut self, value: u64) -> Result<(), E> {
        if self.datatype != Datatype::Uint8 {
            return self.float(value as f64);
        }
        let byte = u8::try_from(value);
        let byte = byte.map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &"0 to 255"))?;
        self.take()?;
        self.bytes.push(byte);
        Ok(())
    }

    fn float<E: de::Error>(&mut self, value: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::Fp32 => self.bytes.extend((value as f32).to_le_bytes()),
            Datatype::Fp16 => self.bytes.extend(f16::from_f64(value).to_le_bytes()),
            Datatype::Bf16 => self.bytes.extend(bf16::from_f64(value).to_le_bytes()),
            // as some libraries write integers
            Datatype::Uint8 if value.fract() == 0.0 && (0.0..=255.0).contains(&value) => {
                self.bytes.push(value as u8);
            }
            _ => return Err(E::invalid_value(Unexpected::Float(value), &"0 to 255")),
        }
        self.take()
    }
}

/// An array, or an element.
struct Items<'a>(&'a mut Sink);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or arrays of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Items(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.0.integer(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.0.float(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.0.float(value)
    }
}

/// The strings of a tensor, of which at most `most` are kept; more are an error.
/// They are slices of `body`, which contains `json`, unless they have escapes.
///
/// # Errors
/// Anything but strings.
pub(super) fn strings(json: &str, body: &Bytes, most: usize) -> Result<Vec<Bytes>, String> {
    let mut texts = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = Texts {
        texts: &mut texts,
        most,
    };
    let read = seed.deserialize(&mut deserializer);
    read.map_err(|error| error.to_string())?;
    let bytes = |text| match text {
        Cow::Borrowed(text) => body.slice_ref(str::as_bytes(text)),
        Cow::Owned(text) => Bytes::from(text),
    };
    Ok(texts.into_iter().map(bytes).collect())
}

struct Texts<'a, 'de> {
    texts: &'a mut Vec<Cow<'de, str>>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Texts<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strings with the base64 of image files, or arrays of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let next = Texts {
                texts: &mut *self.texts,
                most: self.most,
            };
            if items.next_element_seed(next)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        self.push(TextSeed.visit_borrowed_str(text)?)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.push(TextSeed.visit_str(text)?)
    }
}

impl<'de> Texts<'_, 'de> {
    fn push<E: de::Error>(self, text: Cow<'de, str>) -> Result<(), E> {
        if self.texts.len() == self.most {
            return Err(E::custom(format!(
                "there are more than {} strings",
                self.most
            )));
        }
        self.texts.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_each_type_are_read_flat_and_nested() {
        for json in ["[0, 1, 2.0, 255]", "[[[0], [1]], [[2], [255]]]"] {
            assert_eq!(numbers(json, Datatype::Uint8, 4).unwrap(), [0, 1, 2, 255]);
        }
        let bytes = numbers("[0.5, -2, 3]", Datatype::Fp32, 3).unwrap();
        let expected: Vec<u8> = [0.5_f32, -2.0, 3.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(bytes, expected);
        assert_eq!(numbers("[0.5]", Datatype::Fp16, 1).unwrap(), [0x00, 0x38]);
        assert_eq!(numbers("[0.5]", Datatype::Bf16, 1).unwrap(), [0x00, 0x3f]);
    }

    #[test]
    fn wrong_elements_are_errors() {
        for wrong in [
            "[1]",
            "[1, 2, 3]",
            "[1, 256]",
            "[1, -1]",
            "[1, 0.5]",
            "[1, \"2\"]",
            "[1, null]",
            "[1, {}]",
            "[1, 2",
        ] {
            assert!(numbers(wrong, Datatype::Uint8, 2).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strings_are_slices_of_the_body_unless_they_have_escapes() {
        let body = Bytes::from_static(br#"[["abc"], ["d\/e"]]"#);
        let json = std::str::from_utf8(&body).unwrap();
        let found = strings(json, &body, 2).unwrap();
        assert_eq!(found, ["abc", "d/e"]);
        assert_eq!(found[0].as_ptr(), body[3..].as_ptr());
        assert!(strings(json, &body, 1).is_err());
        assert!(strings("[1]", &body, 9).is_err());
    }
}
