//! Prediction requests of Vertex AI: a list of instances, each with the base64 of
//! an image, and parameters.

use bytes::Bytes;

use crate::core::answer::TOP_K;
use crate::core::sent::Sent;
use crate::http::document::{Node, bytes_of};

/// Where the base64 of an instance is.
const KEYS: [&str; 5] = ["content", "b64", "image", "image_bytes", "data"];

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) images: Vec<Sent>,
    /// Most classes of an answer.
    pub(super) most: usize,
    /// The lowest probability of an answer.
    pub(super) threshold: f64,
}

impl Request {
    /// The request in `body`, with at most `most` images.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &Bytes, most: usize) -> Result<Self, String> {
        let mut document = Node::parse(body)?;
        let Some(Node::List(instances)) = document.take("instances") else {
            return Err("`instances` must be a list of objects like {\"content\": \"...\"}".into());
        };
        if instances.is_empty() || instances.len() > most {
            return Err(format!(
                "`instances` has {} images; 1 to {most} are allowed",
                instances.len()
            ));
        }
        let mut parameters = document.take("parameters").unwrap_or(Node::Null);
        let predictions = match parameters.take("maxPredictions") {
            None => TOP_K,
            Some(value) => value
                .count()
                .ok_or("`maxPredictions` must be an integer of at least 0")?,
        };
        let threshold = match parameters.take("confidenceThreshold") {
            None => 0.0,
            Some(Node::Number(value)) if (0.0..=1.0).contains(&value) => value,
            Some(_) => return Err("`confidenceThreshold` must be a number from 0 to 1".into()),
        };
        let image = |instance| image_of(instance, body);
        Ok(Self {
            images: instances.into_iter().map(image).collect::<Result<_, _>>()?,
            most: predictions,
            threshold,
        })
    }
}

fn image_of(mut node: Node<'_>, body: &Bytes) -> Result<Sent, String> {
    while let Some(inner) = node.take_any(&KEYS) {
        node = inner;
    }
    match node {
        Node::Text(text) => Ok(Sent::base64(bytes_of(text, body))),
        _ => Err(format!(
            "an instance must have the base64 of an image under one of the keys {}",
            KEYS.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Request, String> {
        Request::read(&Bytes::from_static(body.as_bytes()), 2)
    }

    #[test]
    fn instances_have_their_image_under_any_of_the_keys() {
        let image = Sent::base64(Bytes::from_static(b"/9j/"));
        for instance in [
            r#"{"instances": [{"content": "/9j/", "mimeType": "image/jpeg"}]}"#,
            r#"{"instances": [{"b64": "/9j/"}]}"#,
            r#"{"instances": [{"image": {"b64": "/9j/"}}]}"#,
            r#"{"instances": ["/9j/"], "parameters": {}}"#,
        ] {
            let request = read(instance).unwrap();
            assert_eq!(request.images, std::slice::from_ref(&image), "{instance}");
            assert_eq!((request.most, request.threshold), (TOP_K, 0.0));
        }
        let body = r#"{"instances": ["a", "b"],
            "parameters": {"maxPredictions": 3, "confidenceThreshold": 0.5}}"#;
        let request = read(body).unwrap();
        assert_eq!((request.images.len(), request.most), (2, 3));
        assert_eq!(request.threshold, 0.5);
    }

    #[test]
    fn other_requests_are_errors_that_name_the_key() {
        for (body, key) in [
            ("{", "JSON"),
            ("{}", "instances"),
            (r#"{"instances": []}"#, "instances"),
            (r#"{"instances": ["a", "a", "a"]}"#, "instances"),
            (r#"{"instances": [{"x": "a"}]}"#, "content"),
            (
                r#"{"instances": ["a"], "parameters": {"maxPredictions": -1}}"#,
                "maxPredictions",
            ),
            (
                r#"{"instances": ["a"], "parameters": {"confidenceThreshold": 2}}"#,
                "confidenceThreshold",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
