//! PhotoPrism, Roboflow and DeepStack.

use serde_json::{Value, json};

use super::{MODEL, form, json as json_request, refuses};
use crate::support::client::{Response, base64, flat, grey, post};
use crate::support::server::server;

/// A `data:` URL of a flat image.
fn url(value: u8) -> String {
    format!("data:image/png;base64,{}", base64(&grey(value)))
}

#[tokio::test]
async fn photoprism_gets_one_list_of_labels_for_all_crops() {
    let server = server().await;
    let body = json!({"id": "a1", "model": "", "version": "", "suffix": "", "stream": false,
        "images": [url(7), url(9), url(7)]});
    let model = json!({"type": "labels", "name": "fake", "version": "1", "resolution": 8});
    for path in [
        "/api/v1/vision/labels",
        "/api/v1/vision/labels/fake",
        "/api/v1/vision/labels/fake/latest",
        "/api/v1/vision/labels/fake/1",
    ] {
        let response = server.send(json_request(path, &body)).await;
        assert_eq!(response.status, 200, "{}", response.text);
        assert_eq!(response.json["id"], "a1");
        assert_eq!(response.json["code"], 200);
        assert_eq!(response.json["model"], model);
        let labels = response.json["result"]["labels"].as_array().unwrap();
        let names = labels.iter().map(|label| label["name"].as_str().unwrap());
        let mut names: Vec<&str> = names.collect();
        // Both have the same probability.
        names.sort_unstable();
        assert_eq!(names, ["grey 7", "grey 9"], "{path}");
        assert_eq!(labels[0]["source"], "image");
        assert!(labels[0]["confidence"].as_f64().unwrap() > 0.999);
    }
}

#[tokio::test]
async fn photoprism_reads_the_code_and_the_text_of_errors() {
    let server = server().await;
    let is_error = |response: &Response| {
        response.json["code"].as_u64() == Some(response.status.as_u16().into())
            && response.json["error"].is_string()
            && response.json["result"] == json!({})
    };
    refuses(&server, "/api/v1/vision/labels", is_error).await;
    let body = json!({"model": "x", "images": [url(7)]});
    let response = server
        .send(json_request("/api/v1/vision/labels", &body))
        .await;
    assert_eq!((response.status.as_u16(), is_error(&response)), (404, true));
}

/// A Roboflow request for these images.
fn roboflow(model: &str, image: &Value) -> Value {
    json!({"api_key": "k", "model_id": model, "image": image, "confidence": 0.5})
}

fn image(file: &[u8]) -> Value {
    json!({"type": "base64", "value": base64(file)})
}

#[tokio::test]
async fn roboflow_gets_the_classes_above_its_threshold() {
    let server = server().await;
    let ask = async |model, image: Value| {
        let body = roboflow(model, &image);
        let response = server
            .send(json_request("/infer/classification", &body))
            .await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.json
    };
    let answer = ask(MODEL, image(&flat(7, 40, 30))).await;
    assert_eq!(answer["image"], json!({"width": 40, "height": 30}));
    assert_eq!(answer["top"], "grey 7");
    assert_eq!(answer["confidence"], 1.0);
    let expected = json!([{"class": "grey 7", "class_id": 7, "confidence": 1.0}]);
    assert_eq!(answer["predictions"], expected);
    assert!(answer["time"].is_number() && answer["inference_id"].is_string());
    let many = ask("fake/1", json!([image(&grey(7)), image(&grey(9))])).await;
    assert_eq!(many[0]["top"], "grey 7");
    assert_eq!(many[1]["top"], "grey 9");
}

#[tokio::test]
async fn roboflow_lists_the_models() {
    let server = server().await;
    let registry = server.get("/model/registry").await.json;
    let model = json!({"model_id": "fake", "task_type": "classification", "batch_size": null,
        "input_height": 8, "input_width": 8});
    assert_eq!(registry["models"][0], model);
    assert_eq!(registry["models"][1]["model_id"], "fake/1");
    let add = json!({"model_id": "fake/1", "api_key": "k"});
    let added = server.send(json_request("/model/add", &add)).await;
    assert_eq!(
        added.json["models"][0]["model_id"], "fake/1",
        "{}",
        added.text
    );
    let unknown = server
        .send(json_request("/model/add", &json!({"model_id": "x/2"})))
        .await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json["message"].is_string());
}

#[tokio::test]
async fn roboflow_reads_the_message_of_errors() {
    let server = server().await;
    let is_error = |response: &Response| response.json["message"].is_string();
    refuses(&server, "/infer/classification", is_error).await;
    refuses(&server, "/model/add", is_error).await;
    let body = roboflow("x/1", &image(&grey(7)));
    let response = server
        .send(json_request("/infer/classification", &body))
        .await;
    assert_eq!((response.status.as_u16(), is_error(&response)), (404, true));
}

#[tokio::test]
async fn deepstack_gets_the_best_label_of_the_image_in_a_form() {
    let server = server().await;
    let response = server
        .send(form("/v1/vision/scene", "image", &grey(7)))
        .await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.json["success"], true);
    assert_eq!(response.json["label"], "grey 7");
    assert!(response.json["confidence"].as_f64().unwrap() > 0.999);
    let is_error = |response: &Response| {
        response.json["success"] == false && response.json["error"].is_string()
    };
    refuses(&server, "/v1/vision/scene", is_error).await;
    let other = server
        .send(form("/v1/vision/scene", "data", &grey(7)))
        .await;
    assert_eq!((other.status.as_u16(), is_error(&other)), (400, true));
    let raw = server.send(post("/v1/vision/scene", grey(7))).await;
    assert_eq!((raw.status.as_u16(), is_error(&raw)), (400, true));
}
