//! Inference: inputs, outputs, parameters, compression.

use std::io::Read;

use axum::http::Request;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder, ZlibDecoder, ZlibEncoder};
use resnet_server::core::spec::ModelSpec;
use resnet_server::core::tensor::FloatRange;
use serde_json::{Value, json};

use super::tensors::{Tensor, all, binary, classes, infer, split};
use crate::support::client::{grey, send};
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::seeing::seeing;
use crate::support::server::{MODEL, Server, limits, server, server_of};

const BINARY: &str = r#"{"parameters": {"binary_data_output": true}}"#;

#[tokio::test]
async fn every_type_and_shape_is_read_as_json_and_as_bytes() {
    let server = server().await;
    let everywhere: Value = serde_json::from_str(BINARY).unwrap();
    for values in [&[77][..], &[1, 200, 3]] {
        for tensor in all(values) {
            let what = format!("{} {:?}", tensor.datatype, tensor.shape);
            for more in [&Value::Null, &everywhere] {
                let response = server.send(tensor.as_json(more)).await;
                assert_eq!(classes(&response), values, "{what}, {}", response.text);
                let response = server.send(tensor.as_binary(more)).await;
                assert_eq!(classes(&response), values, "{what}, {}", response.text);
                assert_eq!(split(&response).1.is_empty(), more.is_null());
            }
        }
    }
}

#[tokio::test]
async fn a_body_without_json_is_one_image() {
    let server = server().await;
    let mut request = infer(grey(9));
    let zero = 0.into();
    let headers = request.headers_mut();
    headers.insert("inference-header-content-length", zero);
    let response = server.send(request).await;
    assert_eq!(classes(&response), [9]);
    assert!(!split(&response).1.is_empty());
}

#[tokio::test]
async fn the_size_of_a_single_binary_input_may_be_left_out() {
    let server = server().await;
    let tensor = &all(&[5])[0];
    let document = json!({"inputs": [
        {"name": "x", "datatype": tensor.datatype, "shape": tensor.shape}
    ]});
    let response = server.send(binary(&document, &tensor.raw)).await;
    assert_eq!(classes(&response), [5]);
}

#[tokio::test]
async fn a_response_repeats_id_and_name_and_has_the_version() {
    let server = server().await;
    let tensor = &all(&[5])[0];
    let more = json!({"id": "42", "parameters": {"priority": 1, "sequence_id": 7, "own": "x"}});
    let response = server.send(tensor.as_json(&more)).await;
    let (document, _) = split(&response);
    assert_eq!(document["id"], "42");
    assert_eq!(document["model_name"], MODEL);
    assert_eq!(document["model_version"], "1");
    let without = server.send(tensor.as_json(&json!({"id": ""}))).await;
    assert!(split(&without).0.get("id").is_none());
    assert!(response.header("server-timing").contains("fake/1"));
    let (_, body) = tensor.as_json(&Value::Null).into_parts();
    let versioned = Request::post(format!("/v2/models/{MODEL}/versions/1/infer"));
    let response = server.send(versioned.body(body).unwrap()).await;
    assert_eq!(classes(&response), [5]);
}

#[tokio::test]
async fn the_classification_extension_returns_value_index_and_label() {
    let server = server().await;
    let tensor = &all(&[7, 8])[0];
    let outputs = json!([
        {"name": "logits", "parameters": {"classification": 2}},
        {"name": "probabilities", "parameters": {"classification": 1000, "binary_data": true}},
    ]);
    let response = server
        .send(tensor.as_json(&json!({"outputs": outputs})))
        .await;
    let (document, raw) = split(&response);
    let logits = &document["outputs"][0];
    assert_eq!(logits["datatype"], "BYTES");
    assert_eq!(logits["shape"], json!([2, 2]));
    let texts = json!([
        "20.000000:7:grey 7",
        "0.000000:0:grey 0",
        "20.000000:8:grey 8",
        "0.000000:0:grey 0"
    ]);
    assert_eq!(logits["data"], texts);
    let probabilities = &document["outputs"][1];
    assert_eq!(probabilities["shape"], json!([2, 256]));
    assert!(raw.starts_with(&17_u32.to_le_bytes()), "{raw:?}");
    assert_eq!(&raw[4..12], b"0.999999", "{raw:?}");
}

#[tokio::test]
async fn outputs_are_chosen_by_name() {
    let (serving, _) = seeing().await;
    let tensor = &all(&[255])[0];
    let outputs = ["heatmap", "embedding", "probabilities"];
    let outputs = outputs.map(|name| json!({"name": name}));
    let mut request = tensor.as_json(&json!({"outputs": outputs}));
    *request.uri_mut() = "/v2/models/seeing/infer".parse().unwrap();
    let response = send(&serving, request).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let outputs = &response.json["outputs"];
    assert_eq!(outputs[0]["shape"], json!([1, 8, 8]));
    // 2 times the brightness, and half of the constant
    let values: Vec<f32> = serde_json::from_value(outputs[0]["data"].clone()).unwrap();
    assert!(
        (values.iter().sum::<f32>() / 64.0 - 2.5).abs() < 1e-3,
        "{values:?}"
    );
    assert_eq!(outputs[1]["data"], json!([1.0, 1.0]));
    assert_eq!(outputs[2]["shape"], json!([1, 2]));
    let sum: f64 = outputs[2]["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-6);
}

#[tokio::test]
async fn pixels_of_another_size_are_cropped_as_a_photo_is() {
    let server = server().await;
    // 4 rows of 12 pixels, of which the middle ones are bright
    let row = (0..12).flat_map(|x| [if (3..9).contains(&x) { 200 } else { 0 }; 3]);
    let rows: Vec<u8> = row.cycle().take(4 * 12 * 3).collect();
    let planes: Vec<u8> = (0..3)
        .flat_map(|_| rows.iter().step_by(3).copied())
        .collect();
    for (shape, raw) in [
        (vec![1, 4, 12, 3], rows.clone()),
        (vec![1, 3, 4, 12], planes),
    ] {
        let pixels = Tensor {
            datatype: "UINT8",
            shape,
            json: json!(raw),
            raw,
        };
        for request in [pixels.as_json(&Value::Null), pixels.as_binary(&Value::Null)] {
            assert_eq!(
                classes(&server.send(request).await),
                [200],
                "{:?}",
                pixels.shape
            );
        }
    }
}

#[tokio::test]
async fn a_model_may_say_that_floats_are_pixels_of_any_size() {
    let server = Server::new(limits(), None, 2);
    server.files.write(MODEL, 1, FakeNetwork::new);
    let floats = FloatRange::Unit;
    server
        .start(vec![ModelSpec {
            floats,
            ..spec(MODEL)
        }])
        .await;
    let pixels = Tensor {
        datatype: "FP32",
        shape: vec![2, 4, 6, 3],
        json: Value::Null,
        raw: [0.2_f32, 1.0]
            .iter()
            .flat_map(|value| value.to_le_bytes().repeat(4 * 6 * 3))
            .collect(),
    };
    let response = server.send(pixels.as_binary(&Value::Null)).await;
    assert_eq!(classes(&response), [51, 255]);
}

#[tokio::test]
async fn requests_and_responses_are_compressed() {
    let server = server().await;
    let tensor = &all(&[3])[0];
    let mut plain = Vec::new();
    for coding in ["identity", "gzip", "deflate"] {
        let (mut head, body) = tensor.as_binary(&Value::Null).into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let mut encoded = Vec::new();
        let level = Compression::fast();
        match coding {
            "gzip" => GzEncoder::new(&body[..], level)
                .read_to_end(&mut encoded)
                .unwrap(),
            "deflate" => ZlibEncoder::new(&body[..], level)
                .read_to_end(&mut encoded)
                .unwrap(),
            _ => Read::read_to_end(&mut &body[..], &mut encoded).unwrap(),
        };
        head.headers
            .insert("content-encoding", coding.parse().unwrap());
        head.headers
            .insert("accept-encoding", coding.parse().unwrap());
        let response = server.send(Request::from_parts(head, encoded.into())).await;
        assert_eq!(response.status, 200, "{}", response.text);
        let mut decoded = Vec::new();
        let expected = match coding {
            "gzip" => {
                GzDecoder::new(&response.bytes[..])
                    .read_to_end(&mut decoded)
                    .unwrap();
                coding
            }
            "deflate" => {
                ZlibDecoder::new(&response.bytes[..])
                    .read_to_end(&mut decoded)
                    .unwrap();
                coding
            }
            _ => {
                decoded = response.bytes.to_vec();
                ""
            }
        };
        assert_eq!(response.header("content-encoding"), expected);
        assert!(decoded.starts_with(b"{\"model_name\""));
        plain.push(decoded);
    }
    assert!(plain.iter().all(|body| *body == plain[0]));
}

#[tokio::test]
async fn images_of_priority_level_2_wait_for_others() {
    let mut limits = limits();
    limits.max_batch = 1;
    let server = server_of(FakeNetwork::new(), 1, limits).await;
    // The only thread is held in the decoding of the first image.
    server.network().decode_gate.close();
    let mut requests = Vec::new();
    for (in_flight, (value, priority)) in [(1, 0), (10, 2), (20, 1)].into_iter().enumerate() {
        let tensor = &all(&[value])[0];
        let more = json!({"parameters": {"priority": priority}});
        requests.push(server.spawn(tensor.as_json(&more)));
        let images = (in_flight + 1) as f64;
        server
            .wait_for_metric("resnet_images_in_flight", images)
            .await;
    }
    server.network().decode_gate.open();
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!(server.batches().concat(), [1, 20, 10]);
}
