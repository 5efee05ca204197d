//! The three forms of a request: the bytes of one image, `multipart/form-data`,
//! and JSON with base64 text.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::{Field, Multipart};
use serde::de::{self, IgnoredAny, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::{Problem, ProblemType};
use crate::core::image::Encoding;
use crate::core::limits::MAX_IMAGES;

/// The form of a request.
pub(super) enum Form {
    Raw,
    Multipart { boundary: String },
    Json,
}

/// The images of a request, in order.
pub(super) struct Images {
    pub(super) files: Vec<Bytes>,
    pub(super) encoding: Encoding,
    /// Whether the response is an array.
    pub(super) many: bool,
}

impl Form {
    /// The form of a body. The content type selects a multipart form. JSON is
    /// detected by its first byte, whatever the content type says: no image
    /// format starts with a brace or a bracket. Any other body is an image,
    /// whose format its bytes show.
    ///
    /// # Errors
    /// 400 for a multipart content type without its boundary.
    pub(super) fn of(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        if essence == "multipart/form-data" {
            let boundary = multer::parse_boundary(content_type).map_err(|error| {
                malformed(format!("the multipart content type is invalid: {error}"))
            })?;
            return Ok(Self::Multipart { boundary });
        }
        let says_json = essence == "application/json" || essence.ends_with("+json");
        match without_mark(body).trim_ascii_start().first() {
            Some(b'{' | b'[') => Ok(Self::Json),
            None if says_json => Ok(Self::Json),
            Some(b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') if says_json => Ok(Self::Json),
            _ => Ok(Self::Raw),
        }
    }

    /// The bytes that unpacking copies, at most: text with escapes is copied
    /// twice, by the parser and into the result.
    pub(super) fn copies(&self, body: &[u8]) -> usize {
        match self {
            Self::Json if memchr::memchr(b'\\', body).is_some() => 2 * body.len(),
            _ => 0,
        }
    }

    /// The images of a body.
    ///
    /// # Errors
    /// 400 when it is malformed or has no image, 413 when it has more than
    /// `most`.
    pub(super) fn unpack(&self, body: Bytes, most: usize) -> Result<Images, Problem> {
        match self {
            Self::Raw => Ok(Images {
                files: vec![body],
                encoding: Encoding::Raw,
                many: false,
            }),
            Self::Multipart { boundary } => multipart(body, boundary, most),
            Self::Json => json(&body, most),
        }
    }
}

/// The body without the byte order mark of UTF-8, which some editors and
/// libraries write in front of JSON.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn multipart(body: Bytes, boundary: &str, most: usize) -> Result<Images, Problem> {
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let read = async {
        let mut files = Vec::new();
        let mut ignored = Vec::new();
        while let Some(part) = form.next_field().await.map_err(|e| bad_form(&e))? {
            let kind = kind(&part);
            let name = part.name().unwrap_or_default().to_owned();
            let content = part.bytes().await.map_err(|e| bad_form(&e))?;
            match kind {
                Part::Image => files.push(content),
                // A browser sends a file input without a file like this.
                Part::Unnamed if content.is_empty() => {}
                Part::Unnamed => files.push(content),
                Part::Other if ignored.len() < NAMED_FIELDS => ignored.push(name),
                Part::Other => {}
            }
            if files.len() > most {
                return Err(too_many(most));
            }
        }
        Ok((files, ignored))
    };
    // The whole body is in memory, so the parser never waits.
    let (files, ignored) = read
        .now_or_never()
        .unwrap_or_else(|| Err(malformed("the form is not terminated".into())))?;
    if files.is_empty() {
        return Err(match ignored.is_empty() {
            true => no_image(),
            false => only_fields(&ignored),
        });
    }
    Ok(Images {
        many: files.len() > 1,
        files,
        encoding: Encoding::Raw,
    })
}

/// Names of ignored fields that a problem lists, at most.
const NAMED_FIELDS: usize = 5;

/// What a part of a form is.
enum Part {
    /// A file with a name, or of an image type.
    Image,
    /// A file without a name, or a part whose field name says that it is one.
    Unnamed,
    /// Another field, such as a submit button.
    Other,
}

fn kind(part: &Field<'_>) -> Part {
    let is_image = part
        .content_type()
        .is_some_and(|content_type| content_type.type_() == "image");
    match file_name(part) {
        Some(FileName::Given) => Part::Image,
        Some(FileName::Empty) => Part::Unnamed,
        None if is_image => Part::Image,
        None if matches!(part.name(), Some("image" | "images" | "file")) => Part::Unnamed,
        None => Part::Other,
    }
}

enum FileName {
    Given,
    Empty,
}

/// Whether the part has a `filename`, or a `filename*` (RFC 8187), which the
/// parser does not read.
fn file_name(part: &Field<'_>) -> Option<FileName> {
    let given = |name: &str| match name.is_empty() {
        true => FileName::Empty,
        false => FileName::Given,
    };
    if let Some(name) = part.file_name().filter(|name| !name.is_empty()) {
        return Some(given(name));
    }
    let disposition = part.headers().get(CONTENT_DISPOSITION)?;
    let disposition = String::from_utf8_lossy(disposition.as_bytes()).to_ascii_lowercase();
    let (_, extended) = disposition.split_once("filename*=").unzip();
    // charset'language'value
    let extended = extended.map(|value| {
        let value = value.split(';').next().unwrap_or_default();
        given(value.rsplit('\'').next().unwrap_or_default().trim())
    });
    extended.or_else(|| part.file_name().map(given))
}

fn only_fields(names: &[String]) -> Problem {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.escape_default()))
        .collect();
    malformed(format!(
        "the form has no file, and {} are not files; send images as files, as `curl -F \
         image=@cat.jpg` does, and options as query parameters",
        names.join(", ")
    ))
}

fn bad_form(error: &multer::Error) -> Problem {
    malformed(format!("the form cannot be parsed: {error}"))
}

/// `{"image": "..."}` or `{"images": ["...", ...]}`; other keys are ignored.
/// A list alone is the value of `images`.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    image: Option<Base64<'a>>,
    #[serde(borrow)]
    images: Option<List<'a>>,
}

/// Text that is borrowed from the body unless it has escapes.
struct Base64<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Base64<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).map(Self)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string with the base64 of one image")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The images of a list. Those beyond [`MAX_IMAGES`] are only counted: a list
/// of a million empty strings is small as JSON and must not become large here.
struct List<'a> {
    first: Vec<Base64<'a>>,
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
                first: vec![Base64(text)],
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
            match items.next_element::<Option<Base64<'de>>>()? {
                Some(item) => first.push(item.unwrap_or(Base64(Cow::Borrowed("")))),
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

fn json(body: &Bytes, most: usize) -> Result<Images, Problem> {
    let text = without_mark(body);
    let document: Document<'_> = match text.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(text).map(|images| Document {
            image: None,
            images: Some(images),
        }),
        _ => serde_json::from_slice(text),
    }
    .map_err(|error| malformed(format!("the JSON cannot be parsed: {error}")))?;
    let file = |Base64(text): Base64<'_>| match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    };
    let (files, many) = match (document.image, document.images) {
        (Some(image), None) => (vec![file(image)], false),
        (None, Some(list)) if list.length > most => return Err(too_many(most)),
        (None, Some(list)) => (list.first.into_iter().map(file).collect(), true),
        (Some(_), Some(_)) => {
            return Err(malformed("the JSON has both `image` and `images`".into()));
        }
        (None, None) => return Err(no_image()),
    };
    if files.is_empty() {
        return Err(no_image());
    }
    Ok(Images {
        files,
        encoding: Encoding::Base64,
        many,
    })
}

fn malformed(reason: String) -> Problem {
    Problem::new(
        ProblemType::MalformedRequest,
        format!("{reason}; /docs shows each form of a request"),
    )
}

fn no_image() -> Problem {
    malformed("the request has no image".into())
}

fn too_many(most: usize) -> Problem {
    Problem::new(
        ProblemType::TooManyImages,
        format!("the request has more than {most} images; split it into several requests"),
    )
}
