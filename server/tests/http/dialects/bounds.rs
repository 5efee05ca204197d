//! What the requests and the responses of other servers' APIs may take, and their
//! errors for paths and queries that cannot be read.

use resnet_server::core::limits::Limits;
use serde_json::{Value, json};

use super::{MODEL, json as json_request, with_method};
use crate::support::client::{base64, grey, send_admin};
use crate::support::server::{limits, server, server_with};

/// More than a body without images may have.
const LARGE: usize = 65 << 10;

#[tokio::test]
async fn bodies_without_images_are_small() {
    let server = server().await;
    let body = json!({"model_id": MODEL, "url": "x", "ready": true, "rest": "x".repeat(LARGE)});
    for (path, status) in [("/model/add", 413), ("/v2/repository/index", 400)] {
        let response = server.send(json_request(path, &body)).await;
        assert_eq!(response.status, status, "{path}: {}", response.text);
        assert!(response.text.contains("65536"), "{path}: {}", response.text);
    }
    let response = send_admin(&server.serving, json_request("/models", &body)).await;
    assert_eq!(response.status, 413, "{}", response.text);
    assert_eq!(response.json["code"], 413, "{}", response.text);
}

#[tokio::test]
async fn ids_that_responses_repeat_are_short() {
    let server = server().await;
    let file = base64(&grey(7));
    let image = json!({"type": "base64", "value": file});
    let tensor = json!({"name": "x", "datatype": "BYTES", "shape": [1], "data": [file]});
    let requests: [(&str, Value); 3] = [
        (
            "/infer/classification",
            json!({"model_id": MODEL, "image": image}),
        ),
        (
            "/api/v1/vision/labels",
            json!({"images": [format!("data:,{file}")]}),
        ),
        ("/v2/models/fake/infer", json!({"inputs": [tensor]})),
    ];
    for (path, mut body) in requests {
        for (length, status) in [(256, 200), (257, 400)] {
            body["id"] = "x".repeat(length).into();
            let response = server.send(json_request(path, &body)).await;
            assert_eq!(response.status, status, "{path}: {}", response.text);
        }
        let long = server.send(json_request(path, &body)).await;
        assert!(long.text.contains("256 bytes"), "{path}: {}", long.text);
    }
}

#[tokio::test]
async fn large_responses_count_as_memory_of_bodies() {
    let limits = Limits {
        body_memory: 40 << 10,
        ..limits()
    };
    let server = server_with(limits, |_| Ok(())).await;
    let file = base64(&grey(7));
    let inputs = |top_k| json!({"inputs": file, "parameters": {"top_k": top_k}});
    let instances = |count| json!({"instances": vec![json!({"b64": file}); count]});
    let image = json!({"type": "base64", "value": file});
    let predict = format!("/v1/models/{MODEL}:predict");
    for (path, body, status) in [
        ("/", inputs(5), 200),
        ("/", inputs(256), 503),
        ("/invocations", inputs(256), 503),
        (&predict, instances(1), 200),
        (&predict, instances(8), 429),
        (
            "/infer/classification",
            json!({"model_id": MODEL, "image": image}),
            503,
        ),
    ] {
        let response = server.send(json_request(path, &body)).await;
        assert_eq!(response.status, status, "{path}: {}", response.text);
    }
}

#[tokio::test]
async fn large_responses_are_complete() {
    let server = server().await;
    let file = base64(&grey(7));
    let inputs = json!({"inputs": file, "parameters": {"top_k": 256}});
    for path in ["/", "/invocations"] {
        let response = server.send(json_request(path, &inputs)).await;
        let classes = response.json.as_array().map(Vec::len);
        assert_eq!(classes, Some(256), "{path}: {}", response.text);
    }
    let instances = json!({"instances": vec![json!({"b64": file}); 8]});
    let path = format!("/v1/models/{MODEL}:predict");
    let response = server.send(json_request(&path, &instances)).await;
    assert_eq!(response.header("content-type"), "application/json");
    let predictions = response.json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 8);
    assert!(
        predictions
            .iter()
            .all(|p| p.as_array().unwrap().len() == 256)
    );
}

#[tokio::test]
async fn queries_and_paths_that_cannot_be_read_are_errors_of_the_api() {
    let server = server().await;
    let twice = "/invocations?model_name=a&model_name=b";
    let response = server.send(with_method("POST", twice, grey(7))).await;
    assert_eq!(response.status, 400, "{}", response.text);
    assert_eq!(response.json["code"], 400, "{}", response.text);
    for method in ["GET", "POST"] {
        let path = "/v1/models/%FF:predict";
        let response = server.send(with_method(method, path, grey(7))).await;
        assert_eq!(response.status, 400, "{}", response.text);
        assert!(response.json["error"].is_string(), "{}", response.text);
    }
    for (method, path) in [
        ("PUT", "/models/%FF"),
        ("DELETE", "/models/%FF"),
        ("GET", "/models/%FF/all"),
        ("PUT", "/models/%FF/1.0/set-default"),
    ] {
        let response = send_admin(&server.serving, with_method(method, path, "")).await;
        assert_eq!(response.status, 400, "{path}: {}", response.text);
        assert_eq!(response.json["code"], 400, "{path}: {}", response.text);
    }
    for path in [
        "/models/%FF",
        "/models/%FF/versions/1",
        "/models/%FF/ready",
        "/assets/%FF",
    ] {
        let native = server.get(path).await;
        native.assert_problem(400, "malformed-request");
    }
}
