//! TorchServe's inference API.

use axum::http::Request;
use serde_json::{Value, json};

use super::{MODEL, form, json as json_request, malformed, refuses, with_method};
use crate::support::client::{Response, base64, get, grey, post, send};
use crate::support::seeing::{MAP, seeing};
use crate::support::server::{Server, limits, server, server_with};

/// The labels of an answer, in its order.
#[track_caller]
fn labels(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text);
    let lines = response
        .text
        .lines()
        .filter_map(|line| line.split_once(':'));
    lines
        .map(|(label, _)| label.trim().trim_matches('"').to_owned())
        .collect()
}

#[track_caller]
fn assert_error(response: &Response, code: u16, kind: &str, message: &str) {
    assert_eq!(response.status.as_u16(), code, "{}", response.text);
    assert_eq!(response.json["code"], code);
    assert_eq!(response.json["type"], kind, "{}", response.text);
    let found = response.json["message"].as_str().unwrap();
    assert!(found.contains(message), "{found}");
    assert!(
        response.text.starts_with("{\n  \"code\": "),
        "{}",
        response.text
    );
    assert!(response.text.ends_with("}\n"));
    assert_eq!(response.header("pragma"), "no-cache");
}

#[tokio::test]
async fn a_prediction_has_five_labels_with_underscores() {
    let server = server().await;
    let response = server
        .send(post(&format!("/predictions/{MODEL}"), grey(7)))
        .await;
    assert_eq!(
        labels(&response),
        ["grey_7", "grey_0", "grey_1", "grey_2", "grey_3"]
    );
    assert!(response.json["grey_7"].as_f64().unwrap() > 0.999);
    assert!(
        response.text.starts_with("{\n  \"grey_7\": 0."),
        "{}",
        response.text
    );
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(
        response.header("cache-control"),
        "no-cache; no-store, must-revalidate, private"
    );
    assert_eq!(response.header("expires"), "Thu, 01 Jan 1970 00:00:00 UTC");
    assert!(!response.header("x-request-id").is_empty());
}

#[tokio::test]
async fn images_come_in_every_form_and_by_every_method_and_path() {
    let server = server().await;
    let path = format!("/predictions/{MODEL}");
    let urlencoded = format!(
        "data={}",
        base64(&grey(7)).replace('+', "%2B").replace('=', "%3D")
    );
    let urlencoded = Request::post(&path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(urlencoded.into())
        .unwrap();
    let typed = Request::post(&path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(grey(7).into())
        .unwrap();
    for request in [
        post(&path, grey(7)),
        with_method("PUT", &path, grey(7)),
        with_method("GET", &path, grey(7)),
        form(&path, "data", &grey(7)),
        form(&path, "body", base64(&grey(7)).as_bytes()),
        urlencoded,
        typed,
        post(&path, base64(&grey(7))),
        json_request(&path, &json!({"data": base64(&grey(7))})),
        post(&format!("{path}/1"), grey(7)),
        post(&format!("{path}/1.0"), grey(7)),
        post("/invocations", grey(7)),
        post(&format!("/invocations?model_name={MODEL}"), grey(7)),
        post(&format!("/models/{MODEL}/invoke"), grey(7)),
        post(&format!("/{MODEL}/predict"), grey(7)),
    ] {
        let shown = format!("{} {}", request.method(), request.uri());
        let response = server.send(request).await;
        assert_eq!(labels(&response)[0], "grey_7", "{shown}");
    }
}

#[tokio::test]
async fn a_kserve_request_has_a_list_of_predictions() {
    let server = server().await;
    let instances = [grey(7), grey(9)].map(|image| json!({"data": base64(&image)}));
    let body = json!({"instances": instances});
    for path in [
        format!("/v1/models/{MODEL}:predict"),
        format!("/predictions/{MODEL}"),
    ] {
        let response = server.send(json_request(&path, &body)).await;
        assert_eq!(response.status, 200, "{}", response.text);
        let predictions = response.json["predictions"].as_array().unwrap();
        let probability = |i: usize, label: &str| predictions[i][label].as_f64().unwrap();
        assert!(probability(0, "grey_7") > 0.999 && probability(1, "grey_9") > 0.999);
    }
}

#[tokio::test]
async fn an_explanation_is_the_map_of_one_class() {
    let (serving, _) = seeing().await;
    let path = "/explanations/seeing";
    let map = async |request| {
        let response = send(&serving, request).await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.json
    };
    let best = map(post(path, grey(200))).await;
    assert_eq!(best.as_array().unwrap().len(), 1, "one channel");
    assert_eq!(best[0].as_array().unwrap().len(), MAP);
    assert_eq!(best[0][0].as_array().unwrap().len(), MAP);
    let named = |target| json_request(path, &json!({"data": base64(&grey(200)), "target": target}));
    assert_eq!(map(named(0)).await, best);
    assert_ne!(map(named(1)).await, best);
    let response = send(&serving, named(2)).await;
    assert_error(&response, 400, "BadRequestException", "target");
    let envelope = json!({"instances": [{"data": base64(&grey(200))}]});
    let kserve = map(json_request("/v1/models/seeing:explain", &envelope)).await;
    assert_eq!(kserve, json!({"explanations": [best]}));
}

#[tokio::test]
async fn ping_is_healthy_until_the_server_drains() {
    let server = server().await;
    let response = server.get("/ping").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.text, "{\n  \"status\": \"Healthy\"\n}\n");
    server.serving.leave();
    let response = server.get("/ping").await;
    assert_eq!(response.status, 500);
    assert_eq!(response.text, "{\n  \"status\": \"Unhealthy\"\n}\n");
}

#[tokio::test]
async fn errors_are_those_of_torchserve() {
    let server = server().await;
    let errors = [
        (
            post("/predictions/x", grey(7)),
            404,
            "ModelNotFoundException",
            "Model not found: x",
        ),
        (
            post(&format!("/predictions/{MODEL}/2.0"), grey(7)),
            404,
            "ModelVersionNotFoundException",
            "Model version: 2 does not exist for model: fake",
        ),
        (
            post(&format!("/predictions/{MODEL}/two"), grey(7)),
            404,
            "ModelVersionNotFoundException",
            "Model version: two does not exist for model: fake",
        ),
        (
            with_method("POST", "/api-description", ""),
            405,
            "MethodNotAllowedException",
            "refer to API document",
        ),
        (
            post(&format!("/predictions/{MODEL}"), ""),
            400,
            "BadRequestException",
            "no image",
        ),
        (
            post(&format!("/explanations/{MODEL}"), grey(7)),
            400,
            "BadRequestException",
            "",
        ),
    ];
    for (request, code, kind, message) in errors {
        let response = server.send(request).await;
        assert_error(&response, code, kind, message);
    }
    let large = vec![0; limits().max_body + 1];
    let response = server
        .send(post(&format!("/predictions/{MODEL}"), large))
        .await;
    assert_error(&response, 413, "BadRequestException", "");
}

#[tokio::test]
async fn a_full_queue_is_503_with_a_time_to_retry() {
    let limits = crate::support::server::limits();
    let limits = resnet_server::core::limits::Limits {
        max_in_flight: 1,
        ..limits
    };
    let server = server_with(limits, |_| Ok(())).await;
    let network = server.network();
    let task = server.occupy_device().await;
    let response = server
        .send(post(&format!("/predictions/{MODEL}"), grey(7)))
        .await;
    assert_error(&response, 503, "ServiceUnavailableException", "");
    assert_eq!(response.header("retry-after"), "1");
    network.gate.open();
    assert_eq!(task.await.unwrap().status, 200);
}

#[tokio::test]
async fn malformed_requests_are_client_errors() {
    let server = server().await;
    let is_error = |response: &Response| {
        response.json["code"].as_u64() == Some(response.status.as_u16().into())
            && response.json["message"].is_string()
    };
    for path in [
        format!("/predictions/{MODEL}"),
        format!("/explanations/{MODEL}"),
        "/invocations".to_owned(),
        "/predictions/%ff".to_owned(),
    ] {
        refuses(&server, &path, is_error).await;
    }
    assert!(malformed().len() > 10);
}

#[tokio::test]
async fn options_describe_the_routes() {
    let server = server().await;
    for request in [with_method("OPTIONS", "/", ""), get("/api-description")] {
        let response = server.send(request).await;
        assert_eq!(response.json["openapi"], "3.0.1", "{}", response.text);
        let paths = response.json["paths"].as_object().unwrap();
        assert!(paths.contains_key("/predictions/{model_name}"));
    }
}

/// The value of a counter of TorchServe.
async fn counter(server: &Server, name: &str) -> f64 {
    let page = server.get(&format!("/metrics?name[]={name}")).await;
    assert!(
        page.header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let mut lines = page.text.lines();
    assert_eq!(
        lines.nth(1),
        Some(format!("# TYPE {name} counter").as_str()),
        "{}",
        page.text
    );
    let value = lines.next().and_then(|line| {
        let (labels, value) = line.rsplit_once(' ')?;
        assert!(
            labels.contains("model_name=\"fake\",model_version=\"1\",hostname="),
            "{line}"
        );
        value.parse().ok()
    });
    value.unwrap_or(0.0)
}

#[tokio::test]
async fn counters_of_torchserve_are_there_on_request() {
    let server = server().await;
    for value in [7, 8] {
        server
            .send(post(&format!("/predictions/{MODEL}"), grey(value)))
            .await;
    }
    server.send(post("/predictions/x", grey(7))).await;
    assert_eq!(counter(&server, "ts_inference_requests_total").await, 2.0);
    assert!(counter(&server, "ts_inference_latency_microseconds").await > 0.0);
    counter(&server, "ts_queue_latency_microseconds").await;
    let page = server.get("/metrics").await;
    assert!(
        page.text.contains("protocol=\"torchserve\""),
        "{}",
        page.text
    );
    let none: Value = server.get("/metrics?name[]=x").await.json;
    assert_eq!(none, Value::Null);
}
