//! What `huggingface_hub` calls, and the containers of SageMaker that get the same
//! JSON.

use serde_json::json;

use super::{MODEL, json as json_request, refuses};
use crate::support::client::{Response, base64, grey, post};
use crate::support::server::server;

/// The labels of an answer.
#[track_caller]
fn labels(response: &Response) -> Vec<&str> {
    assert_eq!(response.status, 200, "{}", response.text);
    let list = response.json.as_array().unwrap().iter();
    list.map(|element| element["label"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn images_are_posted_to_the_address_or_to_a_model() {
    let server = server().await;
    for path in ["/".to_owned(), format!("/models/{MODEL}")] {
        let response = server.send(post(&path, grey(7))).await;
        assert_eq!(
            labels(&response),
            ["grey 7", "grey 0", "grey 1", "grey 2", "grey 3"]
        );
        assert!(response.json[0]["score"].as_f64().unwrap() > 0.999);
        assert_eq!(response.json[0].as_object().unwrap().len(), 2);
    }
    assert!(
        server.get("/").await.text.contains("<html"),
        "GET / is a page"
    );
}

#[tokio::test]
async fn json_has_parameters() {
    let server = server().await;
    let ask = async |parameters| {
        let body = json!({"inputs": base64(&grey(7)), "parameters": parameters});
        let response = server.send(json_request("/", &body)).await;
        let scores = labels(&response).len();
        (scores, response.json[0]["score"].as_f64().unwrap())
    };
    assert_eq!(ask(json!({"top_k": 3})).await.0, 3);
    assert_eq!(ask(json!({"top_k": 10_000})).await.0, 256);
    assert_eq!(ask(json!({"function_to_apply": "none"})).await, (5, 20.0));
    let (_, sigmoid) = ask(json!({"function_to_apply": "sigmoid"})).await;
    assert!(
        (sigmoid - 1.0 / (1.0 + (-20.0_f64).exp())).abs() < 1e-12,
        "{sigmoid}"
    );
}

#[tokio::test]
async fn a_container_of_sagemaker_answers_inputs_with_a_list() {
    let server = server().await;
    let body = json!({"inputs": base64(&grey(7)), "parameters": {"top_k": 1}});
    let response = server.send(json_request("/invocations", &body)).await;
    assert_eq!(labels(&response), ["grey 7"]);
}

#[tokio::test]
async fn health_and_information() {
    let server = server().await;
    assert_eq!(server.get("/health").await.status, 200);
    let info = server.get("/info").await.json;
    assert_eq!(info["model_id"], MODEL);
    assert_eq!(info["model_pipeline_tag"], "image-classification");
    assert_eq!(info["model_sha"], "none");
    for key in ["name", "version", "uuid"] {
        assert!(info[key].is_string(), "{key}");
    }
    server.serving.leave();
    assert_eq!(server.get("/health").await.status, 503);
}

#[tokio::test]
async fn errors_are_in_the_body_and_in_a_header() {
    let server = server().await;
    let is_error = |response: &Response| {
        let error = response.json["error"].as_str();
        let header = response.header("x-error-message");
        error.is_some_and(|error| !error.is_empty()) && !header.is_empty()
    };
    refuses(&server, "/", is_error).await;
    let response = server.send(post("/models/x", grey(7))).await;
    assert_eq!(response.status, 404);
    assert!(is_error(&response));
    assert!(response.header("x-error-message").contains("`x`"));
}
