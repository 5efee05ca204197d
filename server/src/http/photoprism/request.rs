//! What PhotoPrism sends to its vision service: several crops of one photo as
//! `data:` URLs.

use bytes::Bytes;

use crate::core::limits::LONGEST_ID;
use crate::core::sent::Sent;
use crate::http::document::{Node, bytes_of};

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// Repeated in the answer; may be empty.
    pub(super) id: String,
    /// The model, where one is named.
    pub(super) model: Option<String>,
    pub(super) images: Vec<Sent>,
}

impl Request {
    /// The request in `body`, with at most `most` images.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &Bytes, most: usize) -> Result<Self, String> {
        let mut document = Node::parse(body)?;
        let mut text = |key| match document.take(key) {
            Some(Node::Text(text)) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        };
        let (id, model) = (text("id").unwrap_or_default(), text("model"));
        if id.len() > LONGEST_ID {
            return Err(format!("`id` must have at most {LONGEST_ID} bytes"));
        }
        let images = match document.take("images") {
            Some(Node::List(images)) if !images.is_empty() => images,
            _ => {
                return Err(
                    "`images` must be a list of data URLs; set `FileScheme: data` in vision.yml"
                        .into(),
                );
            }
        };
        if images.len() > most {
            return Err(format!(
                "`images` has {} images; at most {most} are allowed",
                images.len()
            ));
        }
        let image = |node| match node {
            Node::Text(text) if text.starts_with("http:") || text.starts_with("https:") => Err(
                "images are not fetched from URLs; set `FileScheme: data` in vision.yml".to_owned(),
            ),
            Node::Text(text) => Ok(Sent::base64(bytes_of(text, body))),
            _ => Err("an image must be a data URL".to_owned()),
        };
        Ok(Self {
            id,
            model,
            images: images.into_iter().map(image).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Request, String> {
        Request::read(&Bytes::from_static(body.as_bytes()), 2)
    }

    #[test]
    fn images_are_data_urls() {
        let body = r#"{"id": "a1", "model": "cats", "version": "latest", "suffix": "",
            "stream": false, "images": ["data:image/jpeg;base64,/9j/", "data:,AAAA"]}"#;
        let request = read(body).unwrap();
        assert_eq!(request.id, "a1");
        assert_eq!(request.model.as_deref(), Some("cats"));
        let first = Sent::base64(Bytes::from_static(b"data:image/jpeg;base64,/9j/"));
        assert_eq!(request.images.len(), 2);
        assert_eq!(request.images[0], first);
        let request = read(r#"{"suffix": "", "images": ["data:,AAAA"], "model": ""}"#).unwrap();
        assert_eq!((request.id.as_str(), request.model), ("", None));
    }

    #[test]
    fn other_requests_are_errors() {
        for (body, reason) in [
            ("{", "JSON"),
            ("{}", "images"),
            (r#"{"images": []}"#, "images"),
            (r#"{"images": ["a", "b", "c"]}"#, "at most 2"),
            (r#"{"images": ["https://a/b.jpg"]}"#, "FileScheme"),
            (r#"{"images": [null]}"#, "data URL"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
