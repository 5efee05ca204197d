//! TorchServe's management API on the admin listener.

use axum::http::Request;
use resnet_server::core::spec::{ModelSpec, VersionPolicy};
use resnet_server::http::protocol::Protocols;
use serde_json::json;

use super::{json as json_request, with_method};
use crate::support::client::{Response, get, grey, post, send_admin, send_admin_of};
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits};

/// A server with two versions of a model.
async fn two_versions() -> Server {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server
        .files
        .write("cats", 2, || FakeNetwork::with_offset(100));
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        ..spec("cats")
    };
    server.start(vec![cats]).await;
    for version in [1, 2] {
        server.wait_for_state("cats", version, "ready").await;
    }
    server
}

async fn admin(server: &Server, method: &str, path: &str) -> Response {
    send_admin(&server.serving, with_method(method, path, "")).await
}

#[track_caller]
fn assert_status(response: &Response, code: u16, text: &str) {
    assert_eq!(response.status.as_u16(), code, "{}", response.text);
    assert_eq!(response.text, format!("{{\n  \"status\": {text:?}\n}}\n"));
}

#[track_caller]
fn assert_error(response: &Response, code: u16, kind: &str) {
    assert_eq!(response.status.as_u16(), code, "{}", response.text);
    assert_eq!(response.json["type"], kind, "{}", response.text);
}

#[tokio::test]
async fn versions_are_described_with_a_worker_each() {
    let server = two_versions().await;
    let versions = async |path: &str| {
        let response = admin(&server, "GET", path).await;
        assert_eq!(response.status, 200, "{}", response.text);
        let described = response.json.as_array().unwrap().clone();
        for version in &described {
            assert_eq!(version["modelName"], "cats");
            assert_eq!(version["modelUrl"], "cats");
            assert_eq!(version["workers"][0]["status"], "READY");
            assert_eq!(version["jobQueueStatus"]["remainingCapacity"], 64);
        }
        let names = described
            .iter()
            .map(|v| v["modelVersion"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(versions("/models/cats/all").await, ["1.0", "2.0"]);
    assert_eq!(versions("/models/cats/1.0").await, ["1.0"]);
    assert_error(
        &admin(&server, "GET", "/models/cats/3.0").await,
        404,
        "ModelVersionNotFoundException",
    );
    assert_error(
        &admin(&server, "GET", "/models/dogs/all").await,
        404,
        "ModelNotFoundException",
    );
}

#[tokio::test]
async fn torchserve_by_name_takes_the_list_and_the_description_of_models() {
    let server = two_versions().await;
    let named = Protocols::parse("torchserve").unwrap();
    let ask = async |path: &str| send_admin_of(&server.serving, &named, get(path)).await;
    let list = ask("/models").await.json;
    assert_eq!(
        list,
        json!({"models": [{"modelName": "cats", "modelUrl": "cats"}]})
    );
    let described = ask("/models/cats").await.json;
    assert_eq!(described[0]["modelVersion"], "2.0", "the default version");
    assert_eq!(described[1], json!(null));
    let native = admin(&server, "GET", "/models/cats").await.json;
    assert_eq!(native["name"], "cats");
}

#[tokio::test]
async fn models_are_registered_and_unregistered() {
    let server = two_versions().await;
    server
        .files
        .write("dogs", 1, || FakeNetwork::with_offset(50));
    let path = "/models?url=resnet50_thin&model_name=dogs&initial_workers=1";
    let response = admin(&server, "POST", path).await;
    let text = "Model \"dogs\" Version: 1.0 registered with 1 initial workers";
    assert_status(&response, 200, text);
    assert_eq!(server.classify("dogs", grey(7)).await.class(), 57);
    assert_error(
        &admin(&server, "POST", path).await,
        409,
        "ConflictStatusException",
    );
    let response = admin(&server, "DELETE", "/models/dogs").await;
    assert_status(&response, 200, "Model \"dogs\" unregistered");
    let response = server.send(post("/predictions/dogs", grey(7))).await;
    assert_error(&response, 404, "ModelNotFoundException");
    assert_error(
        &admin(&server, "DELETE", "/models/dogs").await,
        404,
        "ModelNotFoundException",
    );
    assert_eq!(server.classify("cats", grey(7)).await.class(), 107);

    let body = json!({"url": "resnet50_thin", "model_name": "dogs", "initial_workers": 1});
    let response = send_admin(&server.serving, json_request("/models", &body)).await;
    assert_status(&response, 200, text);
}

#[tokio::test]
async fn a_model_can_be_registered_without_waiting() {
    let server = two_versions().await;
    server.files.write("dogs", 1, FakeNetwork::new);
    let gate = server.files.gate("dogs");
    gate.close();
    let path = "/models?url=resnet50_thin&model_name=dogs&initial_workers=1&synchronous=false";
    let response = admin(&server, "POST", path).await;
    assert_status(&response, 202, "Processing worker updates...");
    let ready = server.get("/health/ready").await;
    assert_eq!((ready.status.as_u16(), &*ready.text), (200, "ready\n"));
    gate.open();
    let response = admin(&server, "PUT", "/models/dogs?min_worker=2&synchronous=true").await;
    assert_status(&response, 200, "Workers scaled to 2 for model: dogs");
    assert_eq!(server.classify("dogs", grey(7)).await.class(), 7);
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_a_bad_request_or_is_not_registered() {
    let server = two_versions().await;
    for query in [
        "",
        "url=https://torchserve.pytorch.org/mar_files/squeezenet1_1.mar",
        "url=/no/such/file",
        "url=resnet18.mar",
        "url=resnet50_thin&model_name=-",
        "url=resnet50_thin&model_name=a%20b",
    ] {
        let response = admin(&server, "POST", &format!("/models?{query}")).await;
        assert_error(&response, 400, "BadRequestException");
    }
    let broken = Request::post("/models")
        .header("content-type", "application/json")
        .body("{".into())
        .unwrap();
    let response = send_admin(&server.serving, broken).await;
    assert_error(&response, 400, "BadRequestException");
    server.files.write_broken("dogs", 1, "it is corrupt");
    let path = "/models?url=resnet50_thin&model_name=dogs&initial_workers=1";
    let response = admin(&server, "POST", path).await;
    assert_error(&response, 503, "ServiceUnavailableException");
    assert!(response.text.contains("it is corrupt"), "{}", response.text);
    assert_eq!(server.get("/models/dogs").await.status, 404);
}

#[tokio::test]
async fn workers_are_accepted_and_the_default_version_is_set() {
    let server = two_versions().await;
    let response = admin(&server, "PUT", "/models/cats?min_worker=3").await;
    assert_status(&response, 202, "Processing worker updates...");
    let response = admin(
        &server,
        "PUT",
        "/models/cats/1.0?min_worker=3&synchronous=true",
    )
    .await;
    assert_status(
        &response,
        200,
        "Workers scaled to 3 for model: cats, version: 1.0",
    );
    let response = admin(&server, "PUT", "/models/cats?min_worker=3&max_worker=1").await;
    assert_error(&response, 400, "BadRequestException");

    assert_eq!(server.classify("cats", grey(7)).await.class(), 107);
    let response = admin(&server, "PUT", "/models/cats/1.0/set-default").await;
    let text = "Default version successfully updated for model \"cats\" to \"1.0\"";
    assert_status(&response, 200, text);
    assert_eq!(server.classify("cats", grey(7)).await.class(), 7);
    let response = admin(&server, "PUT", "/models/cats/3.0/set-default").await;
    assert_error(&response, 404, "ModelVersionNotFoundException");

    let response = admin(&server, "DELETE", "/models/cats/2.0").await;
    assert_status(&response, 200, "Model \"cats\" unregistered");
    assert_eq!(server.version("cats", 2).await["state"], "unloaded");
    assert_eq!(server.version("cats", 1).await["state"], "ready");
}

#[tokio::test]
async fn management_is_not_on_the_public_listener() {
    let server = two_versions().await;
    for (method, path) in [
        ("POST", "/models"),
        ("DELETE", "/models/cats"),
        ("PUT", "/models/cats"),
        ("PUT", "/models/cats/1/set-default"),
    ] {
        let response = server.send(with_method(method, path, "")).await;
        assert!(
            [404, 405].contains(&response.status.as_u16()),
            "{method} {path}"
        );
    }
    assert_eq!(server.classify("cats", grey(7)).await.class(), 107);
    let options = admin(&server, "OPTIONS", "/").await.json;
    assert!(options["paths"]["/models"]["post"].is_object());
    assert_eq!(admin(&server, "GET", "/ping").await.status, 200);
}
