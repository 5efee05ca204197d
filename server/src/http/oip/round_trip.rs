//! A property of requests and responses: a tensor of any type and shape that is
//! accepted is the same as JSON and as bytes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use half::{bf16, f16};
use serde_json::{Value, json};

use super::request::parse;
use super::response::{Head, body};
use crate::core::admission::Admission;
use crate::core::base64::decode;
use crate::core::image::Encoding;
use crate::core::metrics::Metrics;
use crate::core::tensor::FloatRange;
use crate::oip::images::{ModelInput, images};
use crate::oip::outputs::{OutputData, OutputTensor};
use crate::oip::tensor::InputTensor;

/// Tensors that are tried.
const CASES: usize = 400;

/// A sequence of numbers that looks random and is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number of `from..=to`.
    fn within(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// A finite float of any size.
    fn float(&mut self) -> f32 {
        loop {
            let float = f32::from_bits(self.next() as u32);
            if float.is_finite() {
                return float;
            }
        }
    }
}

/// A tensor in both forms.
#[derive(Debug)]
struct Tensor {
    datatype: &'static str,
    shape: Vec<i64>,
    /// The elements in their order.
    elements: Vec<Value>,
    raw: Vec<u8>,
}

/// A tensor of image files.
fn files(numbers: &mut Numbers) -> Tensor {
    let count = numbers.within(1, 8);
    let shapes = [
        vec![count as i64],
        vec![count as i64, 1],
        vec![-1],
        vec![-1, 1],
    ];
    let files = (0..count).map(|_| {
        let length = numbers.within(0, 40);
        numbers.bytes(length)
    });
    let files: Vec<Vec<u8>> = files.collect();
    let raw = files.iter().flat_map(|file| {
        let length = (file.len() as u32).to_le_bytes();
        [&length[..], file].concat()
    });
    Tensor {
        datatype: "BYTES",
        raw: raw.collect(),
        elements: files
            .iter()
            .map(|file| json!(BASE64.encode(file)))
            .collect(),
        shape: shapes[numbers.within(0, 3)].clone(),
    }
}

/// The elements of `count` numbers of a type.
fn elements(numbers: &mut Numbers, datatype: &str, count: usize) -> (Vec<Value>, Vec<u8>) {
    let mut values = Vec::new();
    let mut raw = Vec::new();
    for _ in 0..count {
        match datatype {
            "UINT8" => {
                let byte = numbers.next() as u8;
                values.push(json!(byte));
                raw.push(byte);
            }
            "FP16" => {
                // Of its range.
                let half = f16::from_f32(numbers.float() % 6e4);
                values.push(json!(half.to_f64()));
                raw.extend(half.to_le_bytes());
            }
            "BF16" => {
                let half = bf16::from_f32(numbers.float() * 0.5);
                values.push(json!(half.to_f64()));
                raw.extend(half.to_le_bytes());
            }
            _ => {
                let float = numbers.float();
                values.push(json!(f64::from(float)));
                raw.extend(float.to_le_bytes());
            }
        }
    }
    (values, raw)
}

/// A tensor of numbers, for a network with an input of `side`.
fn numbers_of(numbers: &mut Numbers, side: usize) -> Tensor {
    let datatype = ["UINT8", "FP16", "BF16", "FP32"][numbers.within(0, 3)];
    let count = numbers.within(1, 4) as i64;
    let [height, width] = match datatype {
        "UINT8" => [numbers.within(1, 9), numbers.within(1, 9)],
        _ => [side; 2],
    };
    let (height, width) = (height as i64, width as i64);
    let mut shapes = vec![
        vec![height, width, 3],
        vec![3, height, width],
        vec![count, height, width, 3],
        vec![count, 3, height, width],
    ];
    if datatype == "UINT8" {
        shapes.extend([vec![width], vec![count, width]]);
    }
    let last = shapes.len() - 1;
    let shape = shapes.swap_remove(numbers.within(0, last));
    let length = shape.iter().product::<i64>() as usize;
    let (elements, raw) = elements(numbers, datatype, length);
    Tensor {
        datatype,
        shape,
        elements,
        raw,
    }
}

/// The elements as nested arrays, as the shape has them.
fn nested(elements: &[Value], shape: &[i64]) -> Value {
    match shape {
        [_, rest @ ..] if !rest.is_empty() && rest.iter().all(|&dim| dim > 0) => {
            let size = rest.iter().product::<i64>() as usize;
            let parts = elements.chunks(size);
            parts.map(|part| nested(part, rest)).collect()
        }
        _ => json!(elements),
    }
}

impl Tensor {
    fn input(&self) -> Value {
        json!({"name": "x", "datatype": self.datatype, "shape": self.shape})
    }

    /// Parses a request; its tensor, and how many images it has.
    fn parsed(&self, body: Vec<u8>, header: Option<usize>, side: usize) -> (InputTensor, usize) {
        let admission = Admission::new(1, usize::MAX, Arc::new(Metrics::new()));
        let mut share = admission.bytes();
        let request = parse(&Bytes::from(body), header, "m", &mut share);
        let request = request.unwrap_or_else(|failure| panic!("{failure}: {self:?}"));
        let model = ModelInput {
            model: "m",
            side,
            most: 8,
            range: FloatRange::default(),
        };
        let images = images(&request.input, model, &Arc::new(share));
        let images = images.unwrap_or_else(|failure| panic!("{failure}: {self:?}"));
        (request.input, images.len())
    }

    fn as_json(&self, data: Value, side: usize) -> (InputTensor, usize) {
        let mut input = self.input();
        input["data"] = data;
        let body = json!({"inputs": [input]}).to_string().into_bytes();
        self.parsed(body, None, side)
    }

    fn as_binary(&self, side: usize) -> (InputTensor, usize) {
        let mut input = self.input();
        input["parameters"] = json!({"binary_data_size": self.raw.len()});
        let json = json!({"inputs": [input]}).to_string().into_bytes();
        let header = json.len();
        self.parsed([json, self.raw.clone()].concat(), Some(header), side)
    }
}

/// The bytes of the elements, whatever their form.
fn bytes(tensor: &InputTensor) -> Vec<u8> {
    match &tensor.data {
        crate::oip::tensor::TensorData::Raw(raw) => raw.to_vec(),
        crate::oip::tensor::TensorData::Elements(texts, encoding) => {
            assert_eq!(*encoding, Encoding::Base64);
            let files = texts.iter().map(|text| decode(text).unwrap());
            let files = files.flat_map(|file| {
                let length = (file.len() as u32).to_le_bytes();
                [&length[..], &file].concat()
            });
            files.collect()
        }
    }
}

#[test]
fn an_input_of_any_type_and_shape_is_the_same_as_json_and_as_bytes() {
    let mut numbers = Numbers(88_172_645_463_325_252);
    for case in 0..CASES {
        let side = numbers.within(1, 7);
        let tensor = match case % 4 {
            0 => files(&mut numbers),
            _ => numbers_of(&mut numbers, side),
        };
        let flat = tensor.as_json(json!(tensor.elements), side);
        let nested = tensor.as_json(nested(&tensor.elements, &tensor.shape), side);
        let binary = tensor.as_binary(side);
        for (found, images) in [&flat, &nested, &binary] {
            assert_eq!(found.datatype.name(), tensor.datatype, "{tensor:?}");
            assert_eq!(found.shape, tensor.shape, "{tensor:?}");
            assert_eq!(bytes(found), tensor.raw, "{tensor:?}");
            assert_eq!(*images, binary.1, "{tensor:?}");
        }
    }
}

#[test]
fn an_output_of_any_type_and_shape_is_the_same_as_json_and_as_bytes() {
    let mut numbers = Numbers(1_442_695_040_888_963_407);
    for case in 0..CASES {
        let shape = [numbers.within(1, 8), numbers.within(1, 20)];
        let count = shape.iter().product();
        let data = match case % 3 {
            0 => {
                let text = |_| {
                    let length = numbers.within(0, 9);
                    let text = numbers.bytes(length).into_iter().map(char::from);
                    text.collect()
                };
                OutputData::Strings((0..count).map(text).collect())
            }
            _ => OutputData::Floats((0..count).map(|_| numbers.float()).collect()),
        };
        let output = |binary| OutputTensor {
            name: "logits",
            shape: shape.into(),
            data: data.clone(),
            binary,
        };
        let head = Head {
            id: None,
            model: "m",
            version: "1",
        };
        let json = body(head, &[output(false)]).unwrap();
        let document: Value = serde_json::from_slice(&json.bytes).unwrap();
        let found = &document["outputs"][0];
        assert_eq!(found["shape"], json!(shape));
        match &data {
            OutputData::Strings(texts) => assert_eq!(found["data"], json!(texts)),
            OutputData::Floats(values) => {
                let list = found["data"].as_array().unwrap().iter();
                let list: Vec<f32> = list.map(|value| value.as_f64().unwrap() as f32).collect();
                assert_eq!(&list, values);
            }
        }
        let binary = body(head, &[output(true)]).unwrap();
        let (document, raw) = binary.bytes.split_at(binary.header.unwrap());
        let document: Value = serde_json::from_slice(document).unwrap();
        let size = &document["outputs"][0]["parameters"]["binary_data_size"];
        assert_eq!(*size, json!(raw.len()));
        assert_eq!(raw, data.to_raw());
    }
}
