//! Requests that are wrong, and a server that is busy: Triton's statuses and words.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::tensors::{Tensor, all, binary, classes, infer};
use crate::support::client::{Response, grey};
use crate::support::network::SIDE;
use crate::support::server::{limits, server, server_with};

#[track_caller]
fn assert_error(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status.as_u16(), status, "{}", response.text);
    assert_eq!(response.header("content-type"), "application/json");
    let keys: Vec<&String> = response.json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error"]);
    let error = response.json["error"].as_str().unwrap();
    assert!(error.contains(text), "{error}");
}

fn document(input: &Value) -> Request<Body> {
    infer(json!({"inputs": [input]}).to_string())
}

#[tokio::test]
async fn malformed_requests_are_the_clients_errors() {
    let server = server().await;
    let file = all(&[1]).remove(0);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (body, text) in [
        (String::new(), "failed to parse"),
        ("{".into(), "failed to parse"),
        ("[]".into(), "expected an object"),
        (
            r#"[null, null, [{"name": "x", "datatype": "UINT8", "shape": [1]}], null]"#.into(),
            "expected an object",
        ),
        (
            r#"{"inputs": [["x", "UINT8", [1], null, [1]]]}"#.into(),
            "expected an object",
        ),
        (
            r#"{"inputs": [], "outputs": [["logits", null]]}"#.into(),
            "expected an object",
        ),
        ("{}".into(), "inputs"),
        (
            r#"{"inputs": []}"#.into(),
            "expected 1 inputs but got 0 inputs for model 'fake'",
        ),
        (
            format!(r#"{{"inputs": {deep}}}"#),
            "JSON nesting depth exceeds",
        ),
        (r#"{"inputs": [{"name": "x"}]}"#.into(), "datatype"),
        (r#"{"id": 7, "inputs": []}"#.into(), "failed to parse"),
        (
            r#"{"parameters": {"a": []}, "inputs": []}"#.into(),
            "failed to parse",
        ),
        (
            r#"{"parameters": {"triton_x": 1}, "inputs": []}"#.into(),
            "reserved for Triton",
        ),
        (
            r#"{"parameters": {"timeout": -1}, "inputs": []}"#.into(),
            "'timeout'",
        ),
    ] {
        assert_error(&server.send(infer(body)).await, 400, text);
    }
    for (more, text) in [
        (
            json!({"outputs": [{"name": "prob"}]}),
            "unexpected inference output 'prob' for model 'fake'",
        ),
        (
            json!({"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}),
            "classification",
        ),
        (
            json!({"outputs": [{"name": "heatmap"}]}),
            "cannot be explained",
        ),
        (
            json!({"parameters": {"binary_data_output": 1}}),
            "binary_data_output",
        ),
    ] {
        assert_error(&server.send(file.as_json(&more)).await, 400, text);
    }
    let shared = json!({"name": "x", "datatype": "UINT8", "shape": [1, 9],
        "parameters": {"shared_memory_region": "r"}});
    assert_error(
        &server.send(document(&shared)).await,
        501,
        "shared memory is not supported",
    );
}

#[tokio::test]
async fn wrong_types_shapes_and_sizes_are_named() {
    let server = server().await;
    let side = SIDE;
    let input = |datatype: &str, shape: Value, data: Value| {
        document(&json!({"name": "x", "datatype": datatype, "shape": shape, "data": data}))
    };
    for (datatype, shape, data, text) in [
        ("UINT9", json!([1]), json!([1]), "invalid datatype 'UINT9'"),
        ("INT64", json!([1]), json!([1]), "data-type is 'INT64'"),
        (
            "UINT8",
            json!([1, 2, 2]),
            json!([1, 2, 3, 4]),
            "Expected [-1,8,8,3], got [1,2,2]",
        ),
        (
            "UINT8",
            json!([1, 2, 2, 4]),
            json!(vec![1; 16]),
            "unexpected shape for input 'x'",
        ),
        ("UINT8", json!([1, 0, 2, 3]), json!([]), "unexpected shape"),
        (
            "UINT8",
            json!([0, 2, 2, 3]),
            json!([]),
            "batch-size must be >= 1 for 'fake'",
        ),
        ("UINT8", json!([-1, 2, 2, 3]), json!([]), "does not match"),
        (
            "UINT8",
            json!([1, 1, 1, 3]),
            json!([1, 2]),
            "1 of 3 elements are missing",
        ),
        (
            "UINT8",
            json!([1, 1, 1, 3]),
            json!([1, 2, 3, 4]),
            "more elements",
        ),
        (
            "UINT8",
            json!([i64::MAX, i64::MAX]),
            json!([1]),
            "does not match",
        ),
        (
            "FP32",
            json!([1, 3, 2, 2]),
            json!(vec![0.5; 12]),
            "Expected [-1,3,8,8], got [1,3,2,2]",
        ),
        ("BYTES", json!([2]), json!(["QUJD"]), "got 1 elements"),
        (
            "BYTES",
            json!([9]),
            json!(vec!["QUJD"; 9]),
            "batch-size must be <= 8 for 'fake'",
        ),
        ("BYTES", json!([0]), json!([]), "batch-size must be >= 1"),
        ("BYTES", json!([1]), json!(["#"]), "not valid base64"),
        ("BYTES", json!([1]), json!([1]), "'data'"),
        (
            "BYTES",
            json!([1]),
            json!(["bm8gaW1hZ2U="]),
            "not supported",
        ),
        (
            "BYTES",
            json!([2]),
            json!(["bm8gaW1hZ2U=", ""]),
            "image 1 of 2: ",
        ),
    ] {
        assert_error(&server.send(input(datatype, shape, data)).await, 400, text);
    }
    // NaN is not JSON, but may be sent as bytes
    let nan = Tensor {
        datatype: "FP32",
        shape: vec![1, 3, i64::from(side), i64::from(side)],
        json: Value::Null,
        raw: f32::NAN.to_le_bytes().repeat((side * side * 3) as usize),
    };
    assert_error(
        &server.send(nan.as_binary(&Value::Null)).await,
        400,
        "NaN or infinite",
    );
    let huge = Tensor {
        raw: 1e30_f32.to_le_bytes().repeat((side * side * 3) as usize),
        ..nan
    };
    assert_error(
        &server.send(huge.as_binary(&Value::Null)).await,
        400,
        "too large",
    );
}

#[tokio::test]
async fn binary_tensors_must_fill_the_body() {
    let server = server().await;
    let tensor = &all(&[1])[0];
    let about = |size: usize| {
        json!({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1],
            "parameters": {"binary_data_size": size}}]})
    };
    let length = tensor.raw.len();
    for (size, text) in [
        (length + 1, "expecting 1 additional bytes for model 'fake'"),
        (
            length - 1,
            "unexpected additional input data for model 'fake'",
        ),
        (usize::MAX, "additional bytes"),
    ] {
        let response = server.send(binary(&about(size), &tensor.raw)).await;
        assert_error(&response, 400, text);
    }
    let response = server.send(infer(about(1).to_string())).await;
    assert_error(&response, 400, "must specify valid");
    let json = json!({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1],
        "data": ["QUJD"]}]});
    let response = server.send(binary(&json, b"more")).await;
    assert_error(&response, 400, "unexpected additional input data");
    let nothing = json!({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1]}]});
    let response = server.send(infer(nothing.to_string())).await;
    assert_error(&response, 400, "no field is set");
    let cut = &tensor.raw[..length - 1];
    let response = server.send(binary(&about(length - 1), cut)).await;
    assert_error(&response, 400, "incomplete string length or data");
    for (value, text) in [
        ("99999999", "out of range"),
        ("-1", "got: -1"),
        ("x", "got: x"),
    ] {
        let mut request = infer("{}");
        let headers = request.headers_mut();
        headers.insert("inference-header-content-length", value.parse().unwrap());
        assert_error(&server.send(request).await, 400, text);
    }
}

#[tokio::test]
async fn unknown_models_versions_and_encodings() {
    let server = server().await;
    for (path, text) in [
        (
            "/v2/models/no/infer",
            "Request for unknown model: 'no' is not found",
        ),
        (
            "/v2/models/fake/versions/9/infer",
            "'fake' version 9 is not found",
        ),
        (
            "/v2/models/fake/versions/x/infer",
            "'fake' version x is not found",
        ),
    ] {
        let request = Request::post(path).body(grey(1).into()).unwrap();
        assert_error(&server.send(request).await, 404, text);
    }
    for path in [
        "/v2/models/no",
        "/v2/models/no/config",
        "/v2/models/no/stats",
    ] {
        assert_error(&server.get(path).await, 404, "unknown model: 'no'");
    }
    let mut request = infer("{}");
    let headers = request.headers_mut();
    headers.insert("content-encoding", "compress".parse().unwrap());
    assert_error(
        &server.send(request).await,
        501,
        "Unsupported compression type",
    );
}

#[tokio::test]
async fn a_full_server_is_unavailable_and_a_timeout_ends_the_request() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (1, 1);
    let server = server_with(limits, |_| Ok(())).await;
    let first = server.occupy_device().await;
    let tensor = &all(&[2])[0];
    let full = server.send(tensor.as_json(&Value::Null)).await;
    assert_error(&full, 503, "retry later");
    assert_eq!(full.header("retry-after"), "1");
    server.network().gate.open();
    first.await.unwrap();

    server.network().gate.close();
    let more = json!({"parameters": {"timeout": 1000}});
    let late = server.send(tensor.as_json(&more)).await;
    assert_error(&late, 503, "Request timeout expired");
    server.network().gate.open();
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(
        classes(
            &server
                .send(tensor.as_json(&json!({"parameters": {"timeout": 0}})))
                .await
        ),
        [2]
    );
}

#[tokio::test]
async fn an_internal_error_is_500_without_its_cause() {
    let server = server_with(limits(), |classes| {
        assert!(!classes.contains(&13), "on purpose");
        Ok(())
    })
    .await;
    let response = server.send(all(&[13])[0].as_json(&Value::Null)).await;
    assert_error(&response, 500, "the server failed to process this request");
    assert!(!response.text.contains("purpose"));
}
