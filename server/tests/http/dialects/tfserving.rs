//! TensorFlow Serving's REST API, and what KServe adds to its paths.

use serde_json::{Value, json};

use super::{MODEL, json as json_request, refuses, with_method};
use crate::support::client::{Response, base64, get, grey, post};
use crate::support::network::{CLASSES, SIDE};
use crate::support::server::{Server, server};

const PREDICT: &str = "/v1/models/fake:predict";

/// The most probable class of each image of an answer.
#[track_caller]
fn classes(response: &Response, key: &str) -> Vec<usize> {
    assert_eq!(response.status, 200, "{}", response.text);
    let images = response.json[key].as_array().unwrap().iter();
    let best = images.map(|values| {
        let values: Vec<f64> = serde_json::from_value(values.clone()).unwrap();
        assert_eq!(values.len(), CLASSES);
        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-4);
        let order = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        (0..CLASSES).max_by(order).unwrap()
    });
    best.collect()
}

#[track_caller]
fn assert_error(response: &Response, code: u16, message: &str) {
    assert_eq!(response.status.as_u16(), code, "{}", response.text);
    assert_eq!(response.header("content-type"), "application/json");
    let error = response.json["error"].as_str().unwrap();
    assert!(error.contains(message), "{error}");
    assert!(
        response.text.starts_with("{\n    \"error\": \""),
        "{}",
        response.text
    );
}

/// A flat image as nested lists of numbers.
fn pixels(value: &Value, height: u32, width: u32) -> Value {
    let row = vec![json!([value, value, value]); width as usize];
    json!(vec![row; height as usize])
}

#[tokio::test]
async fn encoded_images_are_classified_in_rows_and_columns() {
    let server = server().await;
    let b64 = |value| json!({"b64": base64(&grey(value))});
    let response = server
        .send(json_request(
            PREDICT,
            &json!({"instances": [b64(7), b64(9)]}),
        ))
        .await;
    assert_eq!(classes(&response, "predictions"), [7, 9]);
    assert!(
        response.text.starts_with("{\n    \"predictions\": [["),
        "{}",
        response.text
    );
    assert!(response.text.ends_with("]\n    ]\n}"));
    let named = json!({"signature_name": "serving_default", "instances": [{"image": b64(7)}]});
    let response = server.send(json_request(PREDICT, &named)).await;
    assert_eq!(classes(&response, "predictions"), [7]);
    let columns = json!({"inputs": {"image": [b64(7), b64(9)]}});
    let response = server.send(json_request(PREDICT, &columns)).await;
    assert_eq!(classes(&response, "outputs"), [7, 9]);
}

#[tokio::test]
async fn pixels_of_any_size_are_classified_without_a_usable_content_type() {
    let server = server().await;
    for (value, height, width) in [
        (json!(7.0 / 255.0), SIDE, SIDE),
        (json!(7.0 / 255.0), 21, 13),
        (json!(7), 30, 40),
        (json!(7.0), 30, 40),
    ] {
        let body = json!({"instances": [pixels(&value, height, width)]});
        let response = server.send(post(PREDICT, body.to_string())).await;
        assert_eq!(
            classes(&response, "predictions"),
            [7],
            "{value} {height} x {width}"
        );
    }
}

#[tokio::test]
async fn paths_name_versions_and_labels_in_any_case() {
    let server = server().await;
    let body = json!({"instances": [{"b64": base64(&grey(7))}]});
    for path in [
        "/v1/models/fake/versions/1:predict",
        "/v1/models/fake/labels/stable:predict",
        "/v1/models/fake/labels/latest:predict",
        "/v1/models/fake/Versions/1:PREDICT",
    ] {
        let response = server.send(json_request(path, &body)).await;
        assert_eq!(classes(&response, "predictions"), [7], "{path}");
    }
}

#[tokio::test]
async fn classify_returns_labels_and_scores() {
    let server = server().await;
    let body = json!({"examples": [{"image/encoded": {"b64": base64(&grey(7))}}]});
    let response = server
        .send(json_request("/v1/models/fake:classify", &body))
        .await;
    assert_eq!(response.status, 200, "{}", response.text);
    let results = &response.json["results"][0];
    assert_eq!(results.as_array().unwrap().len(), 5);
    assert_eq!(results[0][0], "grey 7");
    assert!(results[0][1].as_f64().unwrap() > 0.999);
}

#[tokio::test]
async fn the_status_is_that_of_tensorflow_serving_and_of_kserve() {
    let server = server().await;
    let status = json!({
        "model_version_status": [{
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }],
        "name": "fake",
        "ready": true,
    });
    for path in [
        "/v1/models/fake",
        "/v1/models/fake/versions/1",
        "/v1/models/fake/labels/stable",
    ] {
        let response = server.get(path).await;
        assert_eq!(response.json, status, "{path}: {}", response.text);
    }
    assert!(server.get("/v1/models/fake").await.text.ends_with("}\n"));
    assert_eq!(
        server.get("/v1/models").await.json,
        json!({"models": ["fake"]})
    );
    let metadata = server.get("/v1/models/fake/metadata").await.json;
    assert_eq!(
        metadata["model_spec"],
        json!({"name": "fake", "signature_name": "", "version": "1"})
    );
    let signatures = &metadata["metadata"]["signature_def"]["signature_def"];
    let shape = &signatures["serving_default"]["outputs"]["probabilities"]["tensor_shape"];
    assert_eq!(shape["dim"][1]["size"], CLASSES.to_string());
}

#[tokio::test]
async fn errors_are_those_of_tensorflow_serving() {
    let server = server().await;
    let ask = async |request| server.send(request).await;
    let body = json!({"instances": [{"b64": base64(&grey(7))}]});
    let predict = |path: &str| json_request(path, &body);
    for (request, code, message) in [
        (
            predict("/v1/models/x:predict"),
            404,
            "Servable not found for request: Latest(x)",
        ),
        (
            predict("/v1/models/fake/versions/2:predict"),
            404,
            "Servable not found for request: Specific(fake, 2)",
        ),
        (
            predict("/v1/models/fake/versions/99999999999999999999:predict"),
            404,
            "Servable not found",
        ),
        (
            predict("/v1/models/fake/labels/x:predict"),
            400,
            "Unrecognized servable version label: x",
        ),
        (predict("/v1/models/fake:regress"), 400, "regress"),
        (
            predict("/v1/models/fake"),
            400,
            "Malformed request: POST /v1/models/fake",
        ),
        (
            predict("/v1/models/fake/version/1:predict"),
            400,
            "Malformed request",
        ),
        (
            get("/v1/models/fake:predict"),
            400,
            "Malformed request: GET",
        ),
        (
            get("/v1/models/x"),
            404,
            "Could not find any versions of model x",
        ),
        (
            get("/v1/models/fake/versions/2"),
            404,
            "Could not find version 2 of model fake",
        ),
        (get("/v1/models/x/metadata"), 404, "x"),
        (with_method("PUT", "/v1/models/fake", ""), 405, ""),
        (
            json_request(PREDICT, &json!({})),
            400,
            "Missing 'inputs' or 'instances' key",
        ),
        (
            json_request(PREDICT, &json!({"instances": ["AAAA"]})),
            400,
            "",
        ),
    ] {
        let shown = request.uri().to_string();
        let response = ask(request).await;
        assert_error(&response, code, message);
        assert!(!shown.is_empty());
    }
}

#[tokio::test]
async fn a_full_server_is_429_with_a_time_to_retry() {
    let limits = resnet_server::core::limits::Limits {
        max_in_flight: 1,
        ..crate::support::server::limits()
    };
    let server: Server = crate::support::server::server_with(limits, |_| Ok(())).await;
    let network = server.network();
    let task = server.occupy_device().await;
    let body = json!({"instances": [{"b64": base64(&grey(7))}]});
    let response = server.send(json_request(PREDICT, &body)).await;
    assert_error(&response, 429, "");
    assert_eq!(response.header("retry-after"), "1");
    network.gate.open();
    assert_eq!(task.await.unwrap().status, 200);
}

#[tokio::test]
async fn malformed_requests_are_client_errors() {
    let server = server().await;
    for verb in ["predict", "classify", "explain"] {
        let path = format!("/v1/models/{MODEL}:{verb}");
        refuses(&server, &path, |response| {
            response.json["error"].is_string()
        })
        .await;
    }
}
