//! The fields of a form, multipart or urlencoded, with the bytes of their
//! values: for APIs that name the field of the image.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::Multipart;

use crate::core::image::Encoding;

/// Fields of a form that are read.
const MOST_FIELDS: usize = 100;

/// The fields that contain an image in all APIs together.
const IMAGES: [&str; 3] = ["data", "body", "image"];

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: Bytes,
}

/// The fields of `body` if it is a form; `None` for any other content type.
///
/// # Errors
/// What is wrong with the form.
pub(super) fn fields(content_type: &str, body: &Bytes) -> Result<Option<Vec<Field>>, String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        let boundary = multer::parse_boundary(content_type)
            .map_err(|error| format!("the multipart content type is invalid: {error}"))?;
        return multipart(body.clone(), boundary).map(Some);
    }
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let pairs = form_urlencoded::parse(body).take(MOST_FIELDS);
        let field = |(name, value): (Cow<'_, str>, Cow<'_, str>)| Field {
            value: with_plus(&name, value.into_owned()).into(),
            name: name.into_owned(),
        };
        return Ok(Some(pairs.map(field).collect()));
    }
    Ok(None)
}

/// Base64 whose `+` were not escaped, as `curl -d` sends it: they arrive as blanks.
fn with_plus(name: &str, value: String) -> String {
    let is_base64 = || encoding(value.as_bytes()) == Encoding::Base64;
    match IMAGES.contains(&name) && value.contains(' ') && is_base64() {
        true => value.replace(' ', "+"),
        false => value,
    }
}

fn multipart(body: Bytes, boundary: String) -> Result<Vec<Field>, String> {
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let read = async {
        let mut fields = Vec::new();
        while let Some(part) = form.next_field().await? {
            let name = part.name().unwrap_or_default().to_owned();
            let value = part.bytes().await?;
            if fields.len() < MOST_FIELDS {
                fields.push(Field { name, value });
            }
        }
        Ok::<_, multer::Error>(fields)
    };
    // The whole body is in memory, so the parser never waits.
    match read.now_or_never() {
        Some(Ok(fields)) => Ok(fields),
        Some(Err(error)) => Err(format!("the form cannot be parsed: {error}")),
        None => Err("the form is not terminated".into()),
    }
}

/// The value of the last field with one of these names.
pub(super) fn last(fields: &[Field], names: &[&str]) -> Option<Bytes> {
    let with = |name: &&str| fields.iter().rev().find(|field| field.name == *name);
    names.iter().find_map(with).map(|field| field.value.clone())
}

/// Bytes at the start of a value that are checked to distinguish base64 from the bytes
/// of a file.
const SEEN: usize = 64;

/// Whether a value is an image file or its base64. The files of all formats
/// but text PNM have bytes near their start that base64 does not.
pub(super) fn encoding(value: &[u8]) -> Encoding {
    let start = &value[..value.len().min(SEEN)];
    let is_pnm = matches!(value, [b'P', b'1'..=b'7', b, ..] if b.is_ascii_whitespace());
    let is_text = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_=,:; \r\n".contains(b);
    match !start.is_empty() && !is_pnm && start.iter().all(is_text) {
        true => Encoding::Base64,
        false => Encoding::Raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &'static [u8]) -> Vec<(String, Bytes)> {
        let found = fields(content_type, &Bytes::from_static(body)).unwrap();
        let fields = found.unwrap().into_iter();
        fields.map(|field| (field.name, field.value)).collect()
    }

    #[test]
    fn both_kinds_of_forms_are_read() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"data\"; \
                     filename=\"a.jpg\"\r\n\r\n\xff\xd8\xff\r\n--x\r\nContent-Disposition: \
                     form-data; name=\"target\"\r\n\r\n7\r\n--x--\r\n";
        let found = read("multipart/form-data; boundary=x", body);
        assert_eq!(
            found[0],
            ("data".into(), Bytes::from_static(b"\xff\xd8\xff"))
        );
        assert_eq!(found[1], ("target".into(), Bytes::from_static(b"7")));
        let found = read(
            "application/x-www-form-urlencoded",
            b"data=%2F9j%2F&target=7",
        );
        assert_eq!(found[0], ("data".into(), Bytes::from_static(b"/9j/")));
        let other = fields("image/jpeg", &Bytes::new());
        assert_eq!(other, Ok(None));
        for broken in ["multipart/form-data", "multipart/form-data; boundary=x"] {
            assert!(
                fields(broken, &Bytes::from_static(b"--y")).is_err(),
                "{broken}"
            );
        }
    }

    #[test]
    fn a_plus_of_base64_that_is_not_escaped_is_kept() {
        let form = "application/x-www-form-urlencoded";
        let found = read(form, b"data=/9j/+A+B&target=tiger+cat");
        assert_eq!(found[0], ("data".into(), Bytes::from_static(b"/9j/+A+B")));
        let label = Bytes::from_static(b"tiger cat");
        assert_eq!(found[1], ("target".into(), label));
        let found = read(form, b"data=P3+1+1+255+7+7+7");
        assert_eq!(found[0].1, "P3 1 1 255 7 7 7");
    }

    #[test]
    fn the_last_field_of_a_name_wins_and_names_have_an_order() {
        let field = |name: &str, value: &'static [u8]| Field {
            name: name.to_owned(),
            value: Bytes::from_static(value),
        };
        let fields = [
            field("body", b"1"),
            field("data", b"2"),
            field("data", b"3"),
        ];
        assert_eq!(last(&fields, &["data", "body"]).unwrap(), "3");
        assert_eq!(last(&fields[..1], &["data", "body"]).unwrap(), "1");
        assert_eq!(last(&fields, &["image"]), None);
    }

    #[test]
    fn base64_is_told_from_files() {
        for file in [
            &b"\xff\xd8\xff\xe0"[..],
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a\x01\x00\x01\x00\x80",
            b"RIFF\x24\x00\x00\x00WEBPVP8 ",
            b"P3\n1 1\n255\n7 7 7\n",
            b"",
        ] {
            assert_eq!(encoding(file), Encoding::Raw, "{file:?}");
        }
        for text in [
            &b"/9j/4AAQ"[..],
            b"data:image/png;base64,iVBO",
            b"iVBO\nRw0K",
        ] {
            assert_eq!(encoding(text), Encoding::Base64, "{text:?}");
        }
    }
}
