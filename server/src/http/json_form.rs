//! The JSON form of a request: base64 text or the URL of each image. Text is borrowed
//! from the body unless it has escapes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::forms::{File, Images, malformed, no_image, too_many, without_mark};
use super::json_text::TextSeed;
use super::problem::Problem;
use crate::core::image::Encoding;
use crate::core::limits::MAX_IMAGES;

/// `{"image": "..."}`, `{"images": ["...", ...]}` or `{"url": "..."}`; other keys are
/// ignored. A list without an object is the value of `images`. An image is base64 or
/// `{"url": "..."}`.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    image: Option<Image<'a>>,
    #[serde(borrow)]
    images: Option<List<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
}

/// One image.
enum Image<'a> {
    Base64(Cow<'a, str>),
    Url(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Image<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneImage)
    }
}

struct OneImage;

impl<'de> Visitor<'de> for OneImage {
    type Value = Image<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string with the base64 of one image")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Image::Base64(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Image::Base64(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut url = None;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            match &*key {
                "url" if url.is_some() => return Err(de::Error::duplicate_field("url")),
                "url" => url = Some(map.next_value_seed(TextSeed)?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        url.map(Image::Url)
            .ok_or_else(|| de::Error::missing_field("url"))
    }
}

/// The value of `url`.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TextSeed.deserialize(deserializer).map(Self)
    }
}

/// The images of a list. Those beyond [`MAX_IMAGES`] are only counted: a list
/// of a million empty strings is small as JSON and must not become large here.
struct List<'a> {
    first: Vec<Image<'a>>,
    length: usize,
}

/// Characters of the shortest string that is taken as a list of one image:
/// base64 of the smallest image that a format allows.
const SHORTEST_IMAGE: usize = 32;

impl<'a> List<'a> {
    /// A string in the place of a list is a list of one image. One that is too
    /// short for an image is more likely a name, and the list was forgotten.
    fn of_one<E: de::Error>(text: Cow<'a, str>) -> Result<Self, E> {
        match text.len() {
            SHORTEST_IMAGE.. => Ok(Self {
                first: vec![Image::Base64(text)],
                length: 1,
            }),
            length => {
                let found = format!("a string of {length} bytes");
                Err(E::invalid_type(Unexpected::Other(&found), &Items))
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of base64 strings")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        List::of_one(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        List::of_one(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < MAX_IMAGES {
            // A null is an image that is missing, with a problem of its own.
            let missing = || Image::Base64(Cow::Borrowed(""));
            match items.next_element::<Option<Image<'de>>>()? {
                Some(item) => first.push(item.unwrap_or_else(missing)),
                None => break,
            }
        }
        let mut length = first.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(List { first, length })
    }
}

/// The images of a body.
///
/// # Errors
/// 400 when it is malformed or has no image, 413 when it has more than `most`.
pub(super) fn unpack(body: &Bytes, most: usize) -> Result<Images, Problem> {
    let text = without_mark(body);
    let document: Document<'_> = match text.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(text).map(|images| Document {
            image: None,
            images: Some(images),
            url: None,
        }),
        _ => serde_json::from_slice(text),
    }
    .map_err(|error| malformed(format!("the JSON cannot be parsed: {error}")))?;
    let bytes = |text: Cow<'_, str>| match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    };
    let file = |image: Image<'_>| match image {
        Image::Base64(text) => File::Sent(bytes(text), Encoding::Base64),
        Image::Url(url) => File::Url(bytes(url)),
    };
    let (files, many) = match (document.image, document.images, document.url) {
        (Some(image), None, None) => (vec![file(image)], false),
        (None, None, Some(Text(url))) => (vec![file(Image::Url(url))], false),
        (None, Some(list), None) if list.length > most => return Err(too_many(most)),
        (None, Some(list), None) => (list.first.into_iter().map(file).collect(), true),
        (Some(_), Some(_), None) => {
            return Err(malformed("the JSON has both `image` and `images`".into()));
        }
        (None, None, None) => return Err(no_image()),
        _ => {
            let reason = "the JSON has `url` beside `image` or `images`";
            return Err(malformed(reason.into()));
        }
    };
    match files.is_empty() {
        true => Err(no_image()),
        false => Ok(Images { files, many }),
    }
}
