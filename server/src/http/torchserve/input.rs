//! The images in a request to TorchServe: the body itself, the field `data` or
//! `body` of a form, or the instances of KServe's JSON.

use bytes::Bytes;

use crate::core::sent::Sent;
use crate::http::document::{Node, bytes_of};
use crate::http::fields::{Field, encoding, fields, last};

/// The fields that may contain the image.
pub(crate) const IMAGE_FIELDS: [&str; 2] = ["data", "body"];

/// What a request contains.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// In order.
    pub(crate) images: Vec<Sent>,
    /// Whether they are the `instances` of KServe's JSON, and the answer is an
    /// object with a list.
    pub(crate) is_envelope: bool,
    /// The class to explain, where the request names one.
    pub(super) target: Option<String>,
    /// The model, where the body names it.
    pub(super) model: Option<String>,
}

impl Input {
    fn one(image: Bytes) -> Self {
        let encoding = encoding(&image);
        Self {
            images: vec![Sent::File(image, encoding)],
            is_envelope: false,
            target: None,
            model: None,
        }
    }

    /// The images of a body, at most `most`.
    ///
    /// # Errors
    /// There is no image, or more than `most`.
    pub(super) fn read(content_type: &str, body: Bytes, most: usize) -> Result<Self, String> {
        let form = fields(content_type, &body)?;
        if let Some(form) = form {
            if let Some(input) = Self::of_form(&form, most)? {
                return Ok(input);
            }
            // `curl --data-binary` sends any file with the type of a form.
            if content_type.starts_with("multipart") {
                return Err(
                    "the form has neither a field `data` nor a field `body` with an image".into(),
                );
            }
        }
        Self::of_value(body, most)
    }

    fn of_form(form: &[Field], most: usize) -> Result<Option<Self>, String> {
        let Some(image) = last(form, &IMAGE_FIELDS) else {
            return Ok(None);
        };
        let text = |name| {
            let value = last(form, &[name]);
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        Ok(Some(Self {
            target: text("target"),
            model: text("model_name"),
            ..Self::of_value(image, most)?
        }))
    }

    /// The images in a value: JSON if it starts like JSON, else one image.
    ///
    /// # Errors
    /// There is no image, or more than `most`.
    pub(crate) fn of_value(value: Bytes, most: usize) -> Result<Self, String> {
        if value.trim_ascii_start().is_empty() {
            return Err(
                "the request has no image; send the bytes of one, as `curl -T cat.jpg` does".into(),
            );
        }
        match is_json(&value) {
            true => Self::of_json(Node::parse(&value)?, &value, most),
            false => Ok(Self::one(value)),
        }
    }

    fn of_json(mut json: Node<'_>, body: &Bytes, most: usize) -> Result<Self, String> {
        let target = json.take("target").map(text_of);
        let (instances, is_envelope) = match json.take("instances") {
            Some(Node::List(instances)) => (instances, true),
            Some(_) => {
                return Err("`instances` must be a list of objects".into());
            }
            None => (vec![json], false),
        };
        if instances.is_empty() || instances.len() > most {
            return Err(format!(
                "`instances` has {} images; 1 to {most} are allowed",
                instances.len()
            ));
        }
        let image = |instance| image_of(instance, body).map(Sent::base64);
        Ok(Self {
            images: instances.into_iter().map(image).collect::<Result<_, _>>()?,
            is_envelope,
            target,
            model: None,
        })
    }
}

/// Whether a value starts like JSON; otherwise it is one image.
pub(crate) fn is_json(value: &[u8]) -> bool {
    matches!(value.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// The base64 text of an image: a string, or an object with one.
fn image_of(node: Node<'_>, body: &Bytes) -> Result<Bytes, String> {
    let mut node = node;
    while let Some(inner) = node.take_any(&["data", "body", "b64", "image"]) {
        node = inner;
    }
    match node {
        Node::Text(text) => Ok(bytes_of(text, body)),
        _ => Err(
            "an image in JSON must be a base64 string, or an object with one under the key `data`"
                .into(),
        ),
    }
}

fn text_of(node: Node<'_>) -> String {
    match node {
        Node::Text(text) => text.into_owned(),
        Node::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::image::Encoding;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0";

    fn read(content_type: &str, body: &'static [u8]) -> Result<Input, String> {
        Input::read(content_type, Bytes::from_static(body), 2)
    }

    fn images(content_type: &str, body: &'static [u8]) -> Vec<Sent> {
        read(content_type, body).unwrap().images
    }

    #[test]
    fn the_image_is_found_whatever_the_content_type() {
        let raw = vec![Sent::File(Bytes::from_static(JPEG), Encoding::Raw)];
        for content_type in [
            "",
            "image/jpeg",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(images(content_type, JPEG), raw, "{content_type}");
        }
        let form = b"--x\r\nContent-Disposition: form-data; name=\"data\"; \
                     filename=\"a\"\r\n\r\n\xff\xd8\xff\xe0\r\n--x--\r\n";
        assert_eq!(images("multipart/form-data; boundary=x", form), raw);
        let base64 = vec![Sent::base64(Bytes::from_static(b"/9j/4A=="))];
        for (content_type, body) in [
            ("text/plain", &b"/9j/4A=="[..]),
            ("application/json", b"\"/9j/4A==\""),
            (
                "application/x-www-form-urlencoded",
                b"data=%2F9j%2F4A%3D%3D",
            ),
            ("application/json", b"{\"data\": \"/9j/4A==\"}"),
            ("", b"{\"body\": \"/9j/4A==\"}"),
        ] {
            assert_eq!(images(content_type, body), base64, "{content_type}");
        }
    }

    #[test]
    fn kserve_instances_are_an_envelope() {
        let body = br#"{"instances": [{"data": "/9j/4A=="}, {"image": {"b64": "/9j/4A=="}}]}"#;
        let input = read("application/json", body).unwrap();
        assert!(input.is_envelope);
        assert_eq!(input.images.len(), 2);
        assert_eq!(input.images[0], input.images[1]);
    }

    #[test]
    fn a_form_can_name_the_target_and_the_model() {
        let body = b"data=%2F9j%2F4A&target=281&model_name=cats";
        let input = read("application/x-www-form-urlencoded", body).unwrap();
        assert_eq!(input.target.as_deref(), Some("281"));
        assert_eq!(input.model.as_deref(), Some("cats"));
    }

    #[test]
    fn what_has_no_image_is_an_error() {
        for (content_type, body) in [
            ("", &b""[..]),
            ("application/json", b"{"),
            ("application/json", b"{}"),
            ("application/json", b"[1, 2]"),
            ("application/json", b"{\"instances\": 1}"),
            ("application/json", b"{\"instances\": []}"),
            (
                "application/json",
                b"{\"instances\": [\"a\", \"b\", \"c\"]}",
            ),
            ("application/json", b"{\"instances\": [{\"data\": [1]}]}"),
            ("multipart/form-data", b""),
            ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ] {
            let found = read(content_type, body);
            assert!(found.is_err(), "{content_type}: {found:?}");
        }
    }
}
