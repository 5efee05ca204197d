//! The JSON of TensorFlow Serving's requests: `instances` in rows, `inputs` in
//! columns, `examples` to classify.

use bytes::Bytes;

use super::answer::Layout;
use crate::core::sent::{Sent, Tensor, too_many};
use crate::http::document::{Node, bytes_of};
use crate::tfserving::signature::{SIGNATURES, is_signature};

/// The images of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) images: Vec<Sent>,
    pub(super) layout: Layout,
    /// Whether each instance is `{"data": "<base64>"}`, as TorchServe has it behind
    /// KServe. The answer has labels then.
    pub(super) is_kserve: bool,
}

/// The request of a `:predict` in `body`, with at most `most` images.
///
/// # Errors
/// What is wrong with it.
pub(super) fn predict(body: &Bytes, most: usize) -> Result<Request, String> {
    let mut document = document(body)?;
    let found = (document.take("instances"), document.take("inputs"));
    let is_kserve = found.0.as_ref().is_some_and(is_kserve);
    let (images, layout) = match found {
        (Some(instances), None) => (rows(instances, body, most)?, Layout::Rows),
        (None, Some(inputs)) => (column(inputs, body, most)?, Layout::Columns),
        (Some(_), Some(_)) => {
            return Err(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to \
                 exist"
                    .into(),
            );
        }
        (None, None) => return Err("Missing 'inputs' or 'instances' key".into()),
    };
    Ok(Request {
        images: counted(images, most)?,
        layout,
        is_kserve,
    })
}

/// The images of a `:classify`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn classify(body: &Bytes, most: usize) -> Result<Vec<Sent>, String> {
    let examples = document(body)?.take("examples");
    let Some(examples) = examples else {
        return Err("When method is classify, key 'examples' is expected and was not found".into());
    };
    let Node::List(examples) = examples else {
        return Err("Expecting 'examples' value to be an list/array of objects".into());
    };
    let images = examples.into_iter().map(|example| match example {
        Node::Object(_) => image(example, body),
        _ => Err("Example must be JSON object".into()),
    });
    counted(images.collect::<Result<_, _>>()?, most)
}

/// The document, whose signature is one that the model has.
fn document(body: &Bytes) -> Result<Node<'_>, String> {
    if body.trim_ascii().is_empty() {
        return Err("JSON Parse error: The document is empty".into());
    }
    let mut document = Node::parse(body).map_err(|error| format!("JSON Parse error: {error}"))?;
    if !matches!(document, Node::Object(_)) {
        return Err("JSON Parse error: the document is not an object".into());
    }
    match document.take("signature_name") {
        None => Ok(document),
        Some(Node::Text(name)) if is_signature(&name) => Ok(document),
        Some(Node::Text(name)) => Err(format!(
            "Serving signature name: \"{}\" not found in signature def; use one of {}",
            name.escape_default(),
            SIGNATURES.join(", ")
        )),
        Some(_) => Err("'signature_name' key must be a string value.".into()),
    }
}

fn is_kserve(instances: &Node<'_>) -> bool {
    let is_data = |item: &Node<'_>| match item {
        Node::Object(pairs) => matches!(&pairs[..], [(key, Node::Text(_))] if key == "data"),
        _ => false,
    };
    matches!(instances, Node::List(items) if items.iter().all(is_data))
}

/// The images of `instances`.
fn rows(instances: Node<'_>, body: &Bytes, most: usize) -> Result<Vec<Sent>, String> {
    match instances {
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            let image = |(index, item)| {
                image(item, body).map_err(|error| {
                    format!(
                        "Failed to process element: {index} of 'instances' list. Error: {error}"
                    )
                })
            };
            items.map(image).collect()
        }
        Node::Tensor(tensor) => Sent::pixels(tensor, most),
        _ => Err("Expecting 'instances' to be an list/array".into()),
    }
}

/// The images of `inputs`: a tensor, a list, one image, or an object with one of
/// these under the name of the input.
fn column(inputs: Node<'_>, body: &Bytes, most: usize) -> Result<Vec<Sent>, String> {
    match inputs {
        Node::Object(pairs) if !is_base64(&pairs) => {
            let mut pairs = pairs.into_iter();
            match (pairs.next(), pairs.next()) {
                (Some((_, only)), None) => column(only, body, most),
                _ => Err("'inputs' must have one input, the images".into()),
            }
        }
        Node::List(items) => items.into_iter().map(|item| image(item, body)).collect(),
        Node::Tensor(tensor) => Sent::pixels(tensor, most),
        one => Ok(vec![image(one, body)?]),
    }
}

fn is_base64(pairs: &[(std::borrow::Cow<'_, str>, Node<'_>)]) -> bool {
    matches!(pairs, [(key, Node::Text(_))] if key == "b64")
}

/// One image: `{"b64": ...}` or a string, its pixels, or an object with one of
/// these under the name of the input.
fn image(node: Node<'_>, body: &Bytes) -> Result<Sent, String> {
    match node {
        Node::Text(text) => Ok(Sent::base64(bytes_of(text, body))),
        Node::Tensor(tensor) => one(tensor),
        Node::List(mut items) if items.len() == 1 => image(items.remove(0), body),
        Node::Object(pairs) => {
            let mut pairs = pairs.into_iter();
            match (pairs.next(), pairs.next()) {
                (Some((_, only)), None) => image(only, body),
                (None, _) => Err("an object has no image".into()),
                _ => Err("an object has several inputs; the only input is the image".into()),
            }
        }
        _ => Err("an image must be {\"b64\": \"...\"} or its pixels [height, width, 3]".into()),
    }
}

/// The pixels of one image.
fn one(mut tensor: Tensor) -> Result<Sent, String> {
    if tensor.shape.len() == 3 {
        tensor.shape.insert(0, 1);
    }
    if matches!(tensor.shape[..], [count, _, _, _] if count > 1) {
        return Err("an item of the list has several images".into());
    }
    let only = Sent::pixels(tensor, 1)?.into_iter().next();
    only.ok_or_else(|| "an item of the list has no image".into())
}

fn counted(images: Vec<Sent>, most: usize) -> Result<Vec<Sent>, String> {
    match images.len() {
        0 => Err("the request has no image".into()),
        count if count > most => Err(too_many(count, most)),
        _ => Ok(images),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Request, String> {
        predict(&Bytes::from_static(body.as_bytes()), 2)
    }

    fn file() -> Sent {
        Sent::base64(Bytes::from_static(b"/9j/"))
    }

    #[test]
    fn encoded_images_are_rows_or_columns() {
        for (body, images, layout) in [
            (r#"{"instances": [{"b64": "/9j/"}]}"#, 1, Layout::Rows),
            (
                r#"{"signature_name": "serving_default", "instances": [{"image": {"b64": "/9j/"}}, {"image": {"b64": "/9j/"}}]}"#,
                2,
                Layout::Rows,
            ),
            (r#"{"instances": ["/9j/"]}"#, 1, Layout::Rows),
            (r#"{"instances": [{"data": "/9j/"}]}"#, 1, Layout::Rows),
            (r#"{"inputs": {"b64": "/9j/"}}"#, 1, Layout::Columns),
            (
                r#"{"inputs": {"image": {"b64": "/9j/"}}}"#,
                1,
                Layout::Columns,
            ),
            (
                r#"{"inputs": {"image": [{"b64": "/9j/"}, {"b64": "/9j/"}]}}"#,
                2,
                Layout::Columns,
            ),
            (r#"{"inputs": [{"b64": "/9j/"}]}"#, 1, Layout::Columns),
        ] {
            let request = read(body).unwrap();
            assert_eq!(request.layout, layout, "{body}");
            assert_eq!(request.is_kserve, body.contains("data"), "{body}");
            assert_eq!(request.images.len(), images, "{body}");
            assert!(
                request.images.iter().all(|image| *image == file()),
                "{body}"
            );
        }
    }

    #[test]
    fn pixels_are_rows_or_columns() {
        let pixels = |values: [u8; 6]| Sent::Pixels {
            size: [1, 2],
            rgb: Bytes::copy_from_slice(&values),
        };
        let expected = pixels([0, 51, 255, 255, 0, 0]);
        for body in [
            r#"{"instances": [[[[0.0, 0.2, 1.0], [1.0, 0, 0]]]]}"#,
            r#"{"instances": [[[[0, 51, 255], [255, 0, 0]]]]}"#,
            r#"{"instances": [{"image": [[[0, 51, 255], [255, 0, 0]]]}]}"#,
            r#"{"inputs": [[[[0.0, 51.0, 255.0], [255.0, 0, 0]]]]}"#,
            r#"{"inputs": {"input_1": [[[[0, 51, 255], [255, 0, 0]]]]}}"#,
        ] {
            assert_eq!(
                read(body).unwrap().images,
                std::slice::from_ref(&expected),
                "{body}"
            );
        }
        let two = read(r#"{"instances": [[[[0, 0, 0], [1, 1, 1]]], [[[2, 2, 2], [3, 3, 3]]]]}"#);
        let two = two.unwrap().images;
        assert_eq!(
            two,
            [pixels([0, 0, 0, 1, 1, 1]), pixels([2, 2, 2, 3, 3, 3])]
        );
    }

    #[test]
    fn requests_without_a_usable_image_are_errors_that_name_the_reason() {
        for (body, reason) in [
            ("", "empty"),
            ("[]", "not an object"),
            ("{", "parse"),
            ("{}", "Missing 'inputs' or 'instances'"),
            (r#"{"instances": [], "inputs": []}"#, "only one of"),
            (r#"{"instances": []}"#, "no image"),
            (r#"{"instances": {}}"#, "list/array"),
            (r#"{"instances": 5}"#, "list/array"),
            (r#"{"instances": ["a", "a", "a"]}"#, "at most 2"),
            (
                r#"{"instances": [[[[1, 1, 1]]], [[[1, 1, 1]]], [[[1, 1, 1]]]]}"#,
                "at most 2",
            ),
            (
                r#"{"instances": [{"x": [[[[1, 1, 1]]], [[[1, 1, 1]]]]}]}"#,
                "several images",
            ),
            (r#"{"instances": [{"a": "x", "b": "y"}]}"#, "element: 0"),
            (r#"{"instances": [null]}"#, "b64"),
            (r#"{"instances": [[1, 2, 3]]}"#, "shape"),
            (r#"{"instances": [[[[1, 2]]]]}"#, "shape"),
            (r#"{"instances": [[[[1, 2, 300]]]]}"#, "0 to 255"),
            (r#"{"instances": [[[[-0.5, 0.1, 0.2]]]]}"#, "0 to 255"),
            (r#"{"instances": [[[[NaN, 0.1, 0.2]]]]}"#, "parse"),
            (r#"{"instances": [[[[1e60, 0.1, 0.2]]]]}"#, "0 to 255"),
            (
                r#"{"signature_name": "x", "instances": ["a"]}"#,
                "signature",
            ),
            (
                r#"{"signature_name": 5, "instances": ["a"]}"#,
                "signature_name",
            ),
            (r#"{"inputs": {"a": ["x"], "b": ["y"]}}"#, "one input"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn examples_have_an_image_each() {
        let read = |body: &'static str| classify(&Bytes::from_static(body.as_bytes()), 2);
        let body =
            r#"{"examples": [{"image/encoded": {"b64": "/9j/"}}, {"x": [{"b64": "/9j/"}]}]}"#;
        assert_eq!(read(body), Ok(vec![file(), file()]));
        for body in ["{}", r#"{"examples": 5}"#, r#"{"examples": ["/9j/"]}"#] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
