//! The three forms of a request: the bytes of one image, `multipart/form-data`,
//! and JSON with base64 text.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::{Field, Multipart};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
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
    /// The form of a body. The content type matters only for multipart and JSON;
    /// any other body is taken as an image, whose format its bytes show.
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
            Ok(Self::Multipart { boundary })
        } else if (essence == "application/json" || essence.ends_with("+json")) && may_be_json(body)
        {
            Ok(Self::Json)
        } else {
            Ok(Self::Raw)
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

/// Whether the first byte can start JSON; no image format starts like that.
fn may_be_json(body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|byte| {
        matches!(
            byte,
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
        )
    })
}

fn multipart(body: Bytes, boundary: &str, most: usize) -> Result<Images, Problem> {
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let read = async {
        let mut files = Vec::new();
        while let Some(part) = form.next_field().await.map_err(|e| bad_form(&e))? {
            expect_image(&part)?;
            if files.len() == most {
                return Err(too_many(most));
            }
            files.push(part.bytes().await.map_err(|e| bad_form(&e))?);
        }
        Ok(files)
    };
    // The whole body is in memory, so the parser never waits.
    let files = read
        .now_or_never()
        .unwrap_or_else(|| Err(malformed("the form is not terminated".into())))?;
    if files.is_empty() {
        return Err(no_image());
    }
    Ok(Images {
        many: files.len() > 1,
        files,
        encoding: Encoding::Raw,
    })
}

fn expect_image(part: &Field<'_>) -> Result<(), Problem> {
    let name = part.name().unwrap_or_default();
    if part.file_name().is_some() || matches!(name, "image" | "images" | "file") {
        return Ok(());
    }
    let detail = format!(
        "the form field `{}` is not a file; send images as files, as `curl -F image=@cat.jpg` \
         does, and options as query parameters",
        name.escape_default()
    );
    Err(malformed(detail))
}

fn bad_form(error: &multer::Error) -> Problem {
    malformed(format!("the form cannot be parsed: {error}"))
}

/// `{"image": "..."}` or `{"images": ["...", ...]}`; other keys are ignored.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    image: Option<Base64<'a>>,
    #[serde(borrow)]
    images: Option<List<'a>>,
}

/// Text that is borrowed from the body unless it has escapes.
#[derive(Deserialize)]
struct Base64<'a>(#[serde(borrow)] Cow<'a, str>);

/// The images of a list. Those beyond [`MAX_IMAGES`] are only counted: a list
/// of a million empty strings is small as JSON and must not become large here.
struct List<'a> {
    first: Vec<Base64<'a>>,
    length: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of base64 strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() < MAX_IMAGES {
                    match items.next_element()? {
                        Some(item) => first.push(item),
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
        deserializer.deserialize_seq(Items)
    }
}

fn json(body: &Bytes, most: usize) -> Result<Images, Problem> {
    let document: Document<'_> = serde_json::from_slice(body)
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
