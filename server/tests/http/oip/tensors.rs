//! Requests with every type and shape of input that is accepted, as JSON and as
//! binary tensors, and both forms of the response.

use axum::body::Body;
use axum::http::Request;
use half::{bf16, f16};
use serde_json::{Value, json};

use crate::support::client::{Response, base64, grey};
use crate::support::network::{CLASSES, SIDE};
use crate::support::server::MODEL;

/// An input tensor, and both forms of its elements.
pub(super) struct Tensor {
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
    pub(super) json: Value,
    pub(super) raw: Vec<u8>,
}

const PIXELS: usize = (SIDE * SIDE * 3) as usize;

/// Grey images of these values, in every form.
pub(super) fn all(values: &[u8]) -> Vec<Tensor> {
    let (n, side) = (values.len() as i64, i64::from(SIDE));
    let mut tensors = Vec::new();
    let files: Vec<Vec<u8>> = values.iter().map(|&value| grey(value)).collect();
    let length = |file: &Vec<u8>| (file.len() as u32).to_le_bytes();
    let raw = files
        .iter()
        .flat_map(|file| [&length(file)[..], file].concat());
    let raw: Vec<u8> = raw.collect();
    let texts: Vec<String> = files.iter().map(|file| base64(file)).collect();
    for shape in [vec![n], vec![n, 1], vec![-1], vec![-1, 1]] {
        tensors.push(Tensor {
            datatype: "BYTES",
            shape,
            json: json!(texts),
            raw: raw.clone(),
        });
    }
    // Shorter files are padded.
    let longest = files.iter().map(Vec::len).max().unwrap();
    let padded = files.iter().flat_map(|file| {
        let mut file = file.clone();
        file.resize(longest, 0);
        file
    });
    let padded: Vec<u8> = padded.collect();
    tensors.push(Tensor {
        datatype: "UINT8",
        shape: vec![n, longest as i64],
        json: json!(padded),
        raw: padded,
    });
    let pixels: Vec<u8> = values
        .iter()
        .flat_map(|&value| vec![value; PIXELS])
        .collect();
    let mut shapes = vec![vec![n, side, side, 3], vec![n, 3, side, side]];
    if n == 1 {
        shapes.extend([vec![side, side, 3], vec![3, side, side]]);
    }
    for shape in shapes {
        let floats = pixels.iter().map(|&value| f32::from(value));
        let fp16 = floats
            .clone()
            .flat_map(|value| f16::from_f32(value).to_le_bytes());
        let bf16 = floats
            .clone()
            .flat_map(|value| bf16::from_f32(value).to_le_bytes());
        let fp32 = floats.clone().flat_map(f32::to_le_bytes);
        for (datatype, raw) in [
            ("UINT8", pixels.clone()),
            ("FP16", fp16.collect()),
            ("BF16", bf16.collect()),
            ("FP32", fp32.collect()),
        ] {
            tensors.push(Tensor {
                datatype,
                shape: shape.clone(),
                json: nested(&pixels, &shape),
                raw,
            });
        }
    }
    tensors
}

/// The elements as arrays of the shape.
fn nested(elements: &[u8], shape: &[i64]) -> Value {
    let [_, rest @ ..] = shape else {
        return json!(elements[0]);
    };
    let size = rest.iter().product::<i64>() as usize;
    elements
        .chunks(size)
        .map(|part| nested(part, rest))
        .collect()
}

pub(super) fn infer(body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("/v2/models/{MODEL}/infer"))
        .body(body.into())
        .unwrap()
}

impl Tensor {
    pub(super) fn as_json(&self, more: &Value) -> Request<Body> {
        let mut document = json!({"inputs": [{
            "name": "any", "datatype": self.datatype, "shape": self.shape, "data": self.json,
        }]});
        merge(&mut document, more);
        infer(document.to_string())
    }

    pub(super) fn as_binary(&self, more: &Value) -> Request<Body> {
        let mut document = json!({"inputs": [{
            "name": "any", "datatype": self.datatype, "shape": self.shape,
            "parameters": {"binary_data_size": self.raw.len()},
        }]});
        merge(&mut document, more);
        binary(&document, &self.raw)
    }
}

/// A request with these bytes after the JSON.
pub(super) fn binary(document: &Value, raw: &[u8]) -> Request<Body> {
    let json = document.to_string();
    let mut request = infer([json.as_bytes(), raw].concat());
    let length = json.len().into();
    let headers = request.headers_mut();
    headers.insert("inference-header-content-length", length);
    request
}

fn merge(document: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
}

/// The classes in a response with `logits` as JSON or as bytes.
#[track_caller]
pub(super) fn classes(response: &Response) -> Vec<u8> {
    assert_eq!(response.status, 200, "{}", response.text);
    let (document, raw) = split(response);
    let output = &document["outputs"][0];
    assert_eq!(output["name"], "logits");
    assert_eq!(output["datatype"], "FP32");
    let logits: Vec<f32> = match &output["data"] {
        Value::Null => {
            assert_eq!(output["parameters"]["binary_data_size"], raw.len());
            let floats = raw.as_chunks::<4>().0.iter();
            floats.map(|&bytes| f32::from_le_bytes(bytes)).collect()
        }
        data => serde_json::from_value(data.clone()).unwrap(),
    };
    let n = logits.len() / CLASSES;
    assert_eq!(output["shape"], json!([n, CLASSES]));
    let rows = logits.chunks(CLASSES);
    let best = rows.map(|row| row.iter().position(|&logit| logit > 0.0).unwrap() as u8);
    best.collect()
}

/// The JSON of a response, and what follows it.
pub(super) fn split(response: &Response) -> (Value, Vec<u8>) {
    let bytes = &response.bytes;
    let length = response.header("inference-header-content-length").parse();
    let is_binary = length.is_ok();
    let (json, raw) = bytes.split_at(length.unwrap_or(bytes.len()));
    let content_type = match is_binary {
        true => "application/octet-stream",
        false => "application/json",
    };
    assert_eq!(response.header("content-type"), content_type);
    (serde_json::from_slice(json).unwrap(), raw.to_vec())
}
