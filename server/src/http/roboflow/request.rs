//! Classification requests of Roboflow's API v1: a model and one or several
//! images in base64.

use bytes::Bytes;

use crate::core::limits::LONGEST_ID;
use crate::core::sent::Sent;
use crate::http::document::{Node, bytes_of};

/// The probability below which a class is left out, unless the request says
/// another.
const THRESHOLD: f64 = 0.4;

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) images: Vec<Sent>,
    /// Whether `image` is a list, and the answer is one too.
    pub(super) many: bool,
    pub(super) threshold: f64,
    /// Repeated in the answer.
    pub(super) id: Option<String>,
}

impl Request {
    /// The request in `body`, with at most `most` images.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &Bytes, most: usize) -> Result<Self, String> {
        let mut document = Node::parse(body)?;
        let model = model_id(&mut document)?;
        let (images, many) = match document.take("image") {
            Some(Node::List(images)) => (images, true),
            Some(image) => (vec![image], false),
            None => return Err("`image` is missing".into()),
        };
        if images.is_empty() || images.len() > most {
            return Err(format!(
                "`image` has {} images; 1 to {most} are allowed",
                images.len()
            ));
        }
        let threshold = match document.take("confidence") {
            Some(Node::Number(value)) if (0.0..=1.0).contains(&value) => value,
            Some(Node::Number(_)) => return Err("`confidence` must be 0 to 1".into()),
            _ => THRESHOLD,
        };
        let id = match document.take("id") {
            Some(Node::Text(id)) if id.len() > LONGEST_ID => {
                return Err(format!("`id` must have at most {LONGEST_ID} bytes"));
            }
            Some(Node::Text(id)) => Some(id.into_owned()),
            _ => None,
        };
        let image = |node| image_of(node, body);
        Ok(Self {
            model,
            images: images.into_iter().map(image).collect::<Result<_, _>>()?,
            many,
            threshold,
            id,
        })
    }
}

/// The model that a document names.
pub(super) fn model_id(document: &mut Node<'_>) -> Result<String, String> {
    match document.take("model_id") {
        Some(Node::Text(id)) if !id.is_empty() => Ok(id.into_owned()),
        _ => Err("`model_id` must be a string".into()),
    }
}

/// A model id as the name and the version of a model: `cats/2`, or a name alone.
pub(super) fn name_and_version(id: &str) -> (&str, Option<u64>) {
    let split = id.rsplit_once('/');
    let numbered = split.and_then(|(name, version)| Some((name, version.parse().ok()?)));
    match numbered {
        Some((name, version)) => (name, Some(version)),
        None => (id, None),
    }
}

fn image_of(mut node: Node<'_>, body: &Bytes) -> Result<Sent, String> {
    let kind = node.take("type");
    match kind.as_ref().and_then(Node::text) {
        Some("base64") => {}
        Some(kind) => {
            return Err(format!(
                "an image of type `{}` is not supported; send its base64",
                kind.escape_default()
            ));
        }
        None => return Err("an image must have a `type`, which is `base64`".into()),
    }
    match node.take("value") {
        Some(Node::Text(text)) => Ok(Sent::base64(bytes_of(text, body))),
        _ => Err("the `value` of an image must be its base64".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Request, String> {
        Request::read(&Bytes::from_static(body.as_bytes()), 2)
    }

    #[test]
    fn one_image_or_a_list() {
        let body = r#"{"api_key": "k", "model_id": "cats/2", "id": "x", "confidence": 0.5,
            "image": {"type": "base64", "value": "/9j/"}}"#;
        let image = Sent::base64(Bytes::from_static(b"/9j/"));
        let request = read(body).unwrap();
        assert_eq!(request.images, std::slice::from_ref(&image));
        assert_eq!((request.many, request.threshold), (false, 0.5));
        assert_eq!(
            (request.model.as_str(), request.id.as_deref()),
            ("cats/2", Some("x"))
        );
        let body = r#"{"model_id": "cats", "image": [{"type": "base64", "value": "/9j/"},
            {"type": "base64", "value": "/9j/"}]}"#;
        let request = read(body).unwrap();
        assert_eq!(request.images, [image.clone(), image]);
        assert_eq!((request.many, request.threshold), (true, 0.4));
    }

    #[test]
    fn a_model_id_can_end_with_a_version() {
        assert_eq!(name_and_version("cats/2"), ("cats", Some(2)));
        assert_eq!(name_and_version("cats"), ("cats", None));
        assert_eq!(name_and_version("zoo/cats"), ("zoo/cats", None));
    }

    #[test]
    fn other_requests_are_errors_that_name_the_key() {
        for (body, key) in [
            ("{", "JSON"),
            ("{}", "model_id"),
            (r#"{"model_id": "a"}"#, "image"),
            (r#"{"model_id": "a", "image": []}"#, "image"),
            (r#"{"model_id": "a", "image": "x"}"#, "type"),
            (
                r#"{"model_id": "a", "image": {"type": "url", "value": "http://x"}}"#,
                "url",
            ),
            (r#"{"model_id": "a", "image": {"type": "base64"}}"#, "value"),
            (
                r#"{"model_id": "a", "confidence": 7, "image": {"type": "base64", "value": "x"}}"#,
                "confidence",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(key), "{body}: {error}");
        }
    }
}
