//! Which routes each choice of protocols has, and the paths of Vertex AI.

use axum::body::Body;
use axum::http::Request;
use resnet_server::http::protocol::{Paths, Protocols};
use serde_json::{Value, json};

use super::{MODEL, json as json_request, refuses};
use crate::support::client::{Response, base64, get, grey, post, send_of};
use crate::support::server::server;

#[tokio::test]
async fn only_the_protocols_that_are_named_have_routes() {
    let server = server().await;
    let body = json!({"instances": [{"data": base64(&grey(7))}]});
    let kserve = format!("/v1/models/{MODEL}:predict");
    let requests: [(&str, &dyn Fn() -> Request<Body>); 7] = [
        ("torchserve", &|| {
            post(&format!("/predictions/{MODEL}"), grey(7))
        }),
        ("tensorflow-serving", &|| {
            get(&format!("/v1/models/{MODEL}"))
        }),
        ("huggingface", &|| post("/", grey(7))),
        ("sagemaker", &|| post("/invocations", grey(7))),
        ("photoprism", &|| {
            let images = [format!("data:,{}", base64(&grey(7)))];
            json_request("/api/v1/vision/labels", &json!({"images": images}))
        }),
        ("roboflow", &|| get("/model/registry")),
        ("deepstack", &|| {
            super::form("/v1/vision/scene", "image", &grey(7))
        }),
    ];
    for (name, _) in requests {
        let protocols = Protocols::parse(name).unwrap();
        for (other, request) in requests {
            let response = send_of(&server.serving, &protocols, request()).await;
            let found = response.status == 200;
            let shared = (name, other) == ("torchserve", "sagemaker");
            assert_eq!(
                found,
                name == other || shared,
                "{name} {other}: {}",
                response.text
            );
        }
        let response = send_of(&server.serving, &protocols, get("/ping")).await;
        let container = ["torchserve", "sagemaker"].contains(&name);
        assert_eq!(response.status == 200, container, "{name}");
    }
    let torchserve = Protocols::parse("torchserve").unwrap();
    let response = send_of(&server.serving, &torchserve, json_request(&kserve, &body)).await;
    assert!(
        response.json["predictions"][0]["grey_7"].is_number(),
        "{}",
        response.text
    );
}

fn vertex(health: &str, predict: &str) -> Protocols {
    Protocols::default().with_vertex_paths(Paths {
        health: Some(health.to_owned()),
        predict: Some(predict.to_owned()),
    })
}

#[tokio::test]
async fn vertex_ai_calls_the_paths_of_its_variables() {
    let server = server().await;
    let protocols = vertex("/isalive", "/v1/endpoints/1/deployedModels/2:predict");
    let ask = async |request| send_of(&server.serving, &protocols, request).await;
    assert_eq!(ask(get("/isalive")).await.status, 200);
    let instances: Vec<Value> = [7, 9]
        .map(|value| json!({"content": base64(&grey(value)), "mimeType": "image/png"}))
        .into();
    let body = json!({"instances": instances, "parameters": {"maxPredictions": 1}});
    let path = "/v1/endpoints/1/deployedModels/2:predict";
    let response = ask(json_request(path, &body)).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let predictions = response.json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    assert_eq!(predictions[0]["displayNames"], json!(["grey 7"]));
    assert_eq!(predictions[1]["ids"], json!(["9"]));
    assert!(predictions[1]["confidences"][0].as_f64().unwrap() > 0.999);
    let native = ask(post("/classify", grey(7))).await;
    assert_eq!(native.class(), 7);
    let response = ask(json_request(path, &json!({"instances": 5}))).await;
    assert_eq!(response.status, 400);
    assert!(response.json["error"].is_string(), "{}", response.text);
    server.serving.leave();
    assert_eq!(ask(get("/isalive")).await.status, 503);
}

#[tokio::test]
async fn paths_of_vertex_ai_may_be_those_of_other_apis() {
    let server = server().await;
    let body = json!({"instances": [{"data": base64(&grey(7))}]});
    let predictions = format!("/predictions/{MODEL}");
    for predict in [
        predictions.as_str(),
        "/",
        "/a/predict",
        "/classify",
        "/docs",
        "{x}",
        "",
    ] {
        let protocols = vertex("/ping", predict);
        let ping = send_of(&server.serving, &protocols, get("/ping")).await;
        assert_eq!(ping.status, 200, "{predict}");
    }
    let protocols = vertex("/ping", &predictions);
    let response = send_of(
        &server.serving,
        &protocols,
        json_request(&predictions, &body),
    )
    .await;
    let labels: &Value = &response.json["predictions"][0];
    assert!(
        labels["grey_7"].is_number(),
        "TorchServe's answer: {}",
        response.text
    );
    let is_error = |response: &Response| response.json.is_object();
    refuses(&server, &predictions, is_error).await;
}

#[tokio::test]
async fn vertex_ai_has_the_paths_of_apis_that_are_not_mounted() {
    let server = server().await;
    let body = json!({"instances": [{"content": base64(&grey(7))}]});
    for predict in [
        "/invocations".to_owned(),
        format!("/predictions/{MODEL}"),
        format!("/v1/models/{MODEL}:predict"),
    ] {
        let only = Protocols::parse("vertex-ai").unwrap();
        let only = only.with_vertex_paths(Paths {
            health: Some("/ping".into()),
            predict: Some(predict.clone()),
        });
        let request = json_request(&predict, &body);
        let response = send_of(&server.serving, &only, request).await;
        let names = &response.json["predictions"][0]["displayNames"];
        assert_eq!(names[0], "grey 7", "{predict}: {}", response.text);
        let ping = send_of(&server.serving, &only, get("/ping")).await;
        assert_eq!(ping.json, json!({"status": "ok"}));
        let all = vertex("/ping", &predict);
        let request = json_request(&predict, &body);
        let response = send_of(&server.serving, &all, request).await;
        let names = &response.json["predictions"][0]["displayNames"];
        assert!(names.is_null(), "{predict}: {}", response.text);
        let ping = send_of(&server.serving, &all, get("/ping")).await;
        assert_eq!(ping.json, json!({"status": "Healthy"}));
    }
}
