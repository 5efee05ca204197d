//! The three forms of a request: the bytes of one image, `multipart/form-data`,
//! and JSON with base64 text or URLs ([`super::json_form`]).

use std::convert::Infallible;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::{Field, Multipart};

use super::json_form;
use super::problem::{Problem, ProblemType};
use crate::core::image::Encoding;

/// The form of a request.
pub(super) enum Form {
    Raw,
    Multipart { boundary: String },
    Json,
}

/// The images of a request, in order.
pub(super) struct Images {
    pub(super) files: Vec<File>,
    /// Whether the response is an array.
    pub(super) many: bool,
}

/// One image of a request.
pub(super) enum File {
    /// It is in the request.
    Sent(Bytes, Encoding),
    /// It is at this URL.
    Url(Bytes),
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
                files: vec![File::Sent(body, Encoding::Raw)],
                many: false,
            }),
            Self::Multipart { boundary } => multipart(body, boundary, most),
            Self::Json => json_form::unpack(&body, most),
        }
    }
}

/// The body without the byte order mark of UTF-8, which some editors and
/// libraries write in front of JSON.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
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
                Part::Image => files.push(File::Sent(content, Encoding::Raw)),
                // A browser sends a file input without a file like this.
                Part::Unnamed if content.is_empty() => {}
                Part::Unnamed => files.push(File::Sent(content, Encoding::Raw)),
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

pub(super) fn malformed(reason: String) -> Problem {
    Problem::new(
        ProblemType::MalformedRequest,
        format!("{reason}; /docs shows each form of a request"),
    )
}

pub(super) fn no_image() -> Problem {
    malformed("the request has no image".into())
}

pub(super) fn too_many(most: usize) -> Problem {
    Problem::new(
        ProblemType::TooManyImages,
        format!("the request has more than {most} images; split it into several requests"),
    )
}
