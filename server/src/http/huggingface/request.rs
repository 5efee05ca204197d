//! What `huggingface_hub` sends to classify an image: the bytes of a file, or
//! JSON with its base64 and parameters.

use bytes::Bytes;
use weights::Activation;

use crate::core::answer::TOP_K;
use crate::core::sent::Sent;
use crate::http::document::{Node, bytes_of};
use crate::http::fields::encoding;

/// A request.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct Request {
    pub(in crate::http) image: Sent,
    pub(in crate::http) top_k: usize,
    /// What makes scores of the logits, if not the model's own function.
    pub(super) activation: Option<Activation>,
}

impl Request {
    /// The request in `body`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::http) fn read(body: &Bytes) -> Result<Self, String> {
        match body.trim_ascii_start().first() {
            None => Err("the request has no image".into()),
            Some(b'{') => Self::of_json(body),
            _ => Ok(Self {
                image: Sent::File(body.clone(), encoding(body)),
                top_k: TOP_K,
                activation: None,
            }),
        }
    }

    fn of_json(body: &Bytes) -> Result<Self, String> {
        let mut document = Node::parse(body)?;
        let Some(Node::Text(inputs)) = document.take("inputs") else {
            return Err("`inputs` must be a string, the base64 of an image".into());
        };
        let mut parameters = document.take("parameters").unwrap_or(Node::Null);
        let top_k = match parameters.take("top_k") {
            None | Some(Node::Null) => TOP_K,
            Some(value) => value
                .count()
                .filter(|k| *k > 0)
                .ok_or("`top_k` must be an integer of at least 1")?,
        };
        let activation = match parameters.take("function_to_apply") {
            None | Some(Node::Null) => None,
            Some(value) => Some(match value.text() {
                Some("softmax") => Activation::Softmax,
                Some("sigmoid") => Activation::Sigmoid,
                Some("none") => Activation::None,
                _ => return Err("`function_to_apply` must be softmax, sigmoid or none".into()),
            }),
        };
        Ok(Self {
            image: Sent::base64(bytes_of(inputs, body)),
            top_k,
            activation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::image::Encoding;

    fn read(body: &'static [u8]) -> Result<Request, String> {
        Request::read(&Bytes::from_static(body))
    }

    #[test]
    fn bytes_are_an_image_and_json_has_parameters() {
        let image = read(b"\xff\xd8\xff").unwrap();
        let file = Sent::File(Bytes::from_static(b"\xff\xd8\xff"), Encoding::Raw);
        assert_eq!(
            (image.image, image.top_k, image.activation),
            (file, 5, None)
        );
        let text = Sent::base64(Bytes::from_static(b"/9j/"));
        for (body, top_k, activation) in [
            (&br#"{"inputs": "/9j/"}"#[..], 5, None),
            (br#"{"inputs": "/9j/", "parameters": {"top_k": 3}}"#, 3, None),
            (
                br#"{"inputs": "/9j/", "parameters": {"top_k": null, "function_to_apply": "sigmoid"}}"#,
                5,
                Some(Activation::Sigmoid),
            ),
            (
                br#"{"inputs": "/9j/", "parameters": {"function_to_apply": "none"}}"#,
                5,
                Some(Activation::None),
            ),
        ] {
            let image = text.clone();
            let expected = Request {
                image,
                top_k,
                activation,
            };
            assert_eq!(read(body), Ok(expected));
        }
    }

    #[test]
    fn other_requests_are_errors_that_name_the_key() {
        for (body, key) in [
            (&b""[..], "image"),
            (b"{", "JSON"),
            (b"{}", "inputs"),
            (br#"{"inputs": [1]}"#, "inputs"),
            (br#"{"inputs": "a", "parameters": {"top_k": 0}}"#, "top_k"),
            (br#"{"inputs": "a", "parameters": {"top_k": "5"}}"#, "top_k"),
            (
                br#"{"inputs": "a", "parameters": {"function_to_apply": "relu"}}"#,
                "function_to_apply",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
