//! Health, metadata, statistics, the repository, and what is not supported.

use std::sync::Arc;

use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::tensors::{all, classes};
use crate::support::client::{Response, get, grey, post, send, send_admin};
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{MODEL, Server, limits, server};

#[tokio::test]
async fn health_is_a_status_with_the_body_of_the_protocol() {
    let server = server().await;
    for (path, body) in [
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"ready": true})),
        (
            "/v2/models/fake/ready",
            json!({"name": "fake", "ready": true}),
        ),
    ] {
        let response = server.get(path).await;
        assert_eq!(
            (response.status.as_u16(), response.json),
            (200, body),
            "{path}"
        );
    }
    server.serving.leave();
    let leaving = server.get("/v2/health/ready").await;
    assert_eq!(leaving.status, 400);
    assert_eq!(leaving.json, json!({"ready": false}));
    assert_eq!(server.get("/v2/health/live").await.status, 200);
    let unknown = server.get("/v2/models/no/ready").await;
    assert_eq!(unknown.status, 400);
    assert_eq!(
        unknown.json["error"],
        "Request for unknown model: 'no' is not found"
    );
}

#[tokio::test]
async fn metadata_and_configuration_say_what_image_clients_need() {
    let server = server().await;
    let about = server.get("/v2").await.json;
    assert_eq!(about["name"], "resnet");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        about["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    let expected = json!({
        "name": "fake", "versions": ["1"], "platform": "resnet",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 256]}],
    });
    for path in ["/v2/models/fake", "/v2/models/fake/versions/1"] {
        assert_eq!(server.get(path).await.json, expected);
        let config = server.get(&format!("{path}/config")).await.json;
        assert_eq!(config["max_batch_size"], 8);
        let input = json!([{"name": "image", "data_type": "TYPE_UINT8",
            "format": "FORMAT_NHWC", "dims": [8, 8, 3]}]);
        assert_eq!(config["input"], input);
        assert_eq!(config["output"][0]["dims"], json!([256]));
        assert_eq!(config["batch_input"], json!([]));
    }
    assert_eq!(
        server.get("/v2/models").await.json,
        json!({"models": ["fake"]})
    );
}

#[tokio::test]
async fn statistics_count_requests_images_and_batches() {
    let server = server().await;
    server.post(grey(1)).await;
    let three = &all(&[1, 2, 3])[0];
    assert_eq!(
        classes(&server.send(three.as_json(&Value::Null)).await).len(),
        3
    );
    server.post(&b"no image"[..]).await;
    let batches = server.batches().len();
    for path in [
        "/v2/models/fake/stats",
        "/v2/models/fake/versions/1/stats",
        "/v2/models/stats",
    ] {
        let body = server.get(path).await.json;
        let stats = &body["model_stats"][0];
        assert_eq!(
            (&stats["name"], &stats["version"]),
            (&json!("fake"), &json!("1"))
        );
        assert_eq!(stats["inference_count"], 4);
        assert_eq!(stats["execution_count"], batches);
        assert!(stats["last_inference"].as_u64().unwrap() > 1_600_000_000_000);
        let steps = &stats["inference_stats"];
        assert_eq!(steps["fail"]["count"], 1);
        for step in [
            "success",
            "queue",
            "compute_input",
            "compute_infer",
            "compute_output",
        ] {
            assert_eq!(steps[step]["count"], 2, "{step}");
        }
        let ns = |step: &str| steps[step]["ns"].as_u64().unwrap();
        let all = ns("queue") + ns("compute_input") + ns("compute_infer") + ns("compute_output");
        assert!(ns("success") <= all && ns("compute_input") > 0, "{steps}");
    }
    let unknown = server.get("/v2/models/fake/versions/9/stats").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn models_are_listed_everywhere_and_loaded_on_the_admin_listener() {
    let server = Server::new(limits(), None, 2);
    server.files.write("a", 1, FakeNetwork::new);
    server.files.write_broken("b", 2, "on purpose");
    server.start(vec![spec("a"), spec("b")]).await;
    let index = async |body: &'static str| {
        let response = server.send(post("/v2/repository/index", body)).await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.json
    };
    let ready = json!({"name": "a", "version": "1", "state": "READY", "reason": ""});
    let all = index("").await;
    assert_eq!(all[0], ready);
    assert_eq!(all[1]["state"], "UNAVAILABLE");
    assert!(all[1]["reason"].as_str().unwrap().contains("on purpose"));
    assert_eq!(index(r#"{"ready": true}"#).await, json!([ready]));

    let unload = "/v2/repository/models/a/unload";
    let refused = server.send(post(unload, "{}")).await;
    assert_eq!(refused.status, 503);
    assert!(error(&refused).contains("explicit model load / unload is not allowed"));
    let admin = async |path: &str, body: &'static str| {
        let response = send_admin(&server.serving, post(path, body)).await;
        (response.status.as_u16(), response.text)
    };
    let parameters = r#"{"parameters": {"unload_dependents": false}}"#;
    assert_eq!(admin(unload, parameters).await, (200, String::new()));
    assert_eq!(server.get("/v2/models/a/ready").await.status, 400);
    assert_eq!(
        admin("/v2/repository/models/a/load", "").await,
        (200, String::new())
    );
    assert_eq!(server.get("/v2/models/a/ready").await.status, 200);
    let config = r#"{"parameters": {"config": "{}"}}"#;
    assert_eq!(admin("/v2/repository/models/a/load", config).await.0, 501);
    assert_eq!(admin("/v2/repository/models/no/load", "").await.0, 404);
}

fn error(response: &Response) -> &str {
    response.json["error"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn extensions_that_are_missing_say_so() {
    let server = server().await;
    for memory in ["systemsharedmemory", "cudasharedmemory"] {
        let path = |rest: &str| format!("/v2/{memory}{rest}");
        assert_eq!(server.get(&path("/status")).await.json, json!([]));
        let unregister = post(&path("/unregister"), "");
        assert_eq!(server.send(unregister).await.status, 200);
        let register = server.send(post(&path("/region/x/register"), "{}")).await;
        assert_eq!(register.status, 501);
        assert!(error(&register).contains("not supported"));
    }
    for path in [
        "/v2/trace/setting",
        "/v2/models/fake/trace/setting",
        "/v2/logging",
    ] {
        let response = server.get(path).await;
        assert_eq!(response.status, 503, "{path}");
        assert!(error(&response).contains("does not support"));
    }
}

#[tokio::test]
async fn requests_are_counted_for_the_protocol() {
    let server = server().await;
    let tensor = &all(&[1])[0];
    server.send(tensor.as_json(&Value::Null)).await;
    let route = r#"route="/v2/models/{name}/infer",status="200",protocol="oip""#;
    assert_eq!(
        server
            .metric(&format!("resnet_requests_total{{{route}}}"))
            .await,
        1.0
    );
    let unknown = server.get("/v2/nothing/here").await;
    assert_eq!(
        (unknown.status.as_u16(), error(&unknown)),
        (404, "Not Found")
    );
    let wrong = server.get(&format!("/v2/models/{MODEL}/infer")).await;
    assert_eq!(
        (wrong.status.as_u16(), error(&wrong)),
        (405, "Method Not Allowed")
    );
    assert_eq!(wrong.header("allow"), "POST");
    let native = send(&server.serving, get("/nothing")).await;
    native.assert_problem(404, "not-found");
}

#[tokio::test]
async fn a_protocol_that_is_not_chosen_has_no_routes() {
    let server = server().await;
    let native = Protocols::parse("native").unwrap();
    let router = routes::public(Arc::clone(&server.serving), &native);
    let response = router.oneshot(get("/v2/health/live")).await.unwrap();
    assert_eq!(response.status(), 404);
    let chosen = Protocols::parse("oip").unwrap();
    let router = routes::admin(Arc::clone(&server.serving), &chosen);
    let response = router.oneshot(get("/v2/health/live")).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Each operation of the contract is a route of one of the listeners.
#[tokio::test]
async fn the_contract_lists_routes_that_exist() {
    let server = server().await;
    let text = include_str!("../../../../docs/openapi/oip.yaml");
    let contract: Value = serde_norway::from_str(text).unwrap();
    let paths = contract["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for (path, operations) in paths {
        let real = path.replace("{name}", MODEL).replace("{version}", "1");
        for (method, operation) in operations.as_object().unwrap() {
            let request = match method.as_str() {
                "get" => get(&real),
                "post" => post(&real, ""),
                _ => continue,
            };
            let response = match operation.get("servers") {
                Some(_) => send_admin(&server.serving, request).await,
                None => server.send(request).await,
            };
            let status = response.status.as_u16();
            assert!(
                ![404, 405, 500].contains(&status),
                "{method} {path}: {status}"
            );
            let documented = operation["responses"].get(status.to_string());
            assert!(documented.is_some(), "{method} {path}: {status}");
        }
    }
}
