//! `GET /models` and below.

use resnet_server::core::spec::{ModelSpec, VersionPolicy};
use serde_json::json;

use crate::support::loader::{on_demand, spec};
use crate::support::network::{CLASSES, FakeNetwork};
use crate::support::server::{Server, limits, server};

/// Model `cats` with a version that is ready and a broken one, and model `ants`,
/// which is loaded on demand.
async fn two_models() -> Server {
    let server = Server::new(limits(), None, 2);
    server
        .files
        .write("cats", 1, || FakeNetwork::new().with_memory(123));
    server.files.write_broken("cats", 2, "it is corrupt");
    server.files.write("ants", 1, FakeNetwork::new);
    let cats = ModelSpec {
        aliases: vec!["felines".into()],
        versions: VersionPolicy::All,
        ..spec("cats")
    };
    server.start(vec![cats, on_demand("ants")]).await;
    server.wait_for_state("cats", 1, "ready").await;
    server.wait_for_state("cats", 2, "failed").await;
    server
}

#[tokio::test]
async fn the_list_has_all_models_in_order_with_the_states_of_their_versions() {
    let response = two_models().await.get("/models").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "application/json");
    let expected = concat!(
        r#"{"models":[{"name":"ants","aliases":[],"default":false,"#,
        r#""versions":[{"version":1,"state":"unloaded"}]},"#,
        r#"{"name":"cats","aliases":["felines"],"default":true,"#,
        r#""versions":[{"version":1,"state":"ready"},"#,
        r#"{"version":2,"state":"failed","reason":"it is corrupt"}]}]}"#
    );
    assert_eq!(response.text, expected);
}

#[tokio::test]
async fn a_model_has_the_information_of_its_loaded_versions() {
    let response = two_models().await.get("/models/felines").await;
    assert_eq!(response.header("content-type"), "application/json");
    let model = response.json;
    assert_eq!(model["name"], "cats");
    assert_eq!(model["aliases"], json!(["felines"]));
    assert_eq!(model["default"], true);
    assert_eq!(model.get("reason"), None);
    assert_eq!(model["versions"][0]["state"], "ready");
    assert_eq!(model["versions"][0]["architecture"], "mean");
    assert_eq!(model["versions"][0]["memory_bytes"], 123);
    let failed = json!({"version": 2, "state": "failed", "reason": "it is corrupt"});
    assert_eq!(model["versions"][1], failed);
}

#[tokio::test]
async fn a_version_is_described_while_it_is_loaded() {
    let response = server().await.get("/models/fake/versions/1").await;
    assert_eq!(response.header("content-type"), "application/json");
    let version = response.json;
    assert_eq!(version["version"], 1);
    assert_eq!(version["state"], "ready");
    assert_eq!(version.get("reason"), None);
    assert_eq!(version["architecture"], "mean");
    assert_eq!(version["input"]["width"], 8);
    let preprocessing = &version["input"]["preprocessing"];
    assert_eq!(preprocessing["resize"]["short_side"], 8);
    assert_eq!(version["device"], "cpu");
    assert_eq!(version["dtype"], "f32");
    assert_eq!(version["isa"], "portable");
    assert_eq!(version["engine"], "fused");
    assert_eq!(version["digest"], "none");
    assert_eq!(version["classes"], CLASSES);
    assert_eq!(version["labels"].as_array().unwrap().len(), CLASSES);
    assert_eq!(version["labels"][7]["label"], "grey 7");
}

#[tokio::test]
async fn a_version_that_is_not_loaded_has_only_its_state() {
    let server = two_models().await;
    let unloaded = server.version("ants", 1).await;
    assert_eq!(unloaded, json!({"version": 1, "state": "unloaded"}));
}

#[tokio::test]
async fn a_model_whose_versions_cannot_be_listed_has_the_reason() {
    let server = Server::new(limits(), None, 2);
    server.start(vec![spec("cats")]).await;
    let model = server.get("/models/cats").await.json;
    assert_eq!(model["versions"], json!([]));
    let reason = model["reason"].as_str().unwrap();
    assert!(reason.contains("it is empty"), "{reason}");
    let response = server.classify("cats", Vec::new()).await;
    response.assert_problem(503, "model-unavailable");
    assert!(response.detail().contains(reason), "{}", response.text);
}
