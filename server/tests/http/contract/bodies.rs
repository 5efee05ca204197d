//! The bodies of examples: `file`, `files` with `times`, `form`, `json`, `text`,
//! `base64`, `zeros` and `stalls`. `{{PATH}}` in JSON is the base64 of a file.

use std::path::Path;

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::examples::{Operation, object};
use crate::support::client::{multipart, stalling};

const BOUNDARY: &str = "frontier";

fn file(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(paths: &Value) -> Vec<Vec<u8>> {
    let paths = paths.as_array().unwrap().iter();
    paths.map(|path| file(path.as_str().unwrap())).collect()
}

/// The request with the body that an `x-request` describes.
pub(crate) fn described(body: &Value) -> Request<Body> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    if let Some(paths) = body.get("files") {
        let times = body["times"].as_u64().unwrap_or(1) as usize;
        multipart(&vec![files(paths); times].concat())
    } else if let Some(fields) = body.get("form") {
        form(fields)
    } else if let Some(json) = body.get("json") {
        typed("application/json", with_files(json).to_string())
    } else if let Some(path) = text("file") {
        Request::new(file(&path).into())
    } else if let Some(text) = text("text") {
        Request::new(text.into())
    } else if let Some(text) = text("base64") {
        Request::new(STANDARD.decode(text).unwrap().into())
    } else if let Some(zeros) = body["zeros"].as_u64() {
        Request::new(vec![0; zeros as usize].into())
    } else if body["stalls"] == json!(true) {
        Request::new(stalling(b"half an image".to_vec()))
    } else {
        Request::default()
    }
}

/// The request of an example of a request body.
pub(crate) fn example(operation: &Operation, content_type: &str, example: &Value) -> Request<Body> {
    let mut request = if let Some(paths) = example.get("x-files") {
        multipart(&files(paths))
    } else if let Some(fields) = example.get("x-form") {
        form(fields)
    } else if let Some(path) = example["externalValue"].as_str() {
        typed(&content_type.replace('*', "jpeg"), file(path))
    } else if content_type == "application/x-www-form-urlencoded" {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in object(&example["value"]) {
            text.append_pair(name, value.as_str().unwrap());
        }
        typed(content_type, text.finish())
    } else if content_type == "text/plain" {
        typed(content_type, example["value"].as_str().unwrap().to_owned())
    } else {
        typed(content_type, example["value"].to_string())
    };
    *request.method_mut() = operation.method.to_uppercase().parse().unwrap();
    *request.uri_mut() = operation.example_path().parse().unwrap();
    for (name, value) in object(&example["x-headers"]) {
        let name: axum::http::HeaderName = name.parse().unwrap();
        let value = value.as_str().unwrap().parse().unwrap();
        request.headers_mut().insert(name, value);
    }
    request
}

fn typed(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().header(CONTENT_TYPE, content_type);
    request.body(body.into()).unwrap()
}

/// A form with these fields. A value that is the path of a photo is the file.
fn form(fields: &Value) -> Request<Body> {
    let mut body = Vec::new();
    for (name, value) in object(fields) {
        let value = value.as_str().unwrap();
        let (filename, value) = match value.starts_with("photos/") {
            true => (format!("; filename=\"{value}\""), file(value)),
            false => (String::new(), value.as_bytes().to_vec()),
        };
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n"
        );
        body.extend([head.as_bytes(), &value, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    typed(&format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// The JSON, with the base64 of the files that it names.
fn with_files(json: &Value) -> Value {
    match json {
        Value::String(text) => match text.split_once("{{") {
            Some((before, path)) => {
                let path = path.trim_end_matches("}}");
                format!("{before}{}", STANDARD.encode(file(path))).into()
            }
            None => json.clone(),
        },
        Value::Array(items) => items.iter().map(with_files).collect(),
        Value::Object(_) => object(json)
            .map(|(key, value)| (key.to_owned(), with_files(value)))
            .collect(),
        _ => json.clone(),
    }
}
