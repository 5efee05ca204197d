//! Loading and unloading models through the admin listener.

use resnet_server::core::spec::{ModelSpec, VersionPolicy};

use crate::support::client::{get, grey, post, send_admin};
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

async fn server() -> Server {
    let server = Server::new(limits(), None, 4);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![spec("cats")]).await;
    server
}

async fn admin(server: &Server, path: &str) {
    let response = server.admin(path).await;
    assert_eq!(response.status, 204, "{path}: {}", response.text);
    assert_eq!(response.text, "");
}

#[tokio::test]
async fn the_public_listener_has_no_admin_routes() {
    let server = server().await;
    for path in [
        "/models/cats/load",
        "/models/cats/unload",
        "/models/cats/versions/1/load",
        "/models/cats/versions/1/unload",
    ] {
        let response = server.send(post(path, "")).await;
        response.assert_problem(404, "not-found");
        let response = server.send(get(path)).await;
        response.assert_problem(404, "not-found");
    }
    assert_eq!(server.files.loads("cats"), [1]);
    assert_eq!(server.post(grey(7)).await.class(), 7);
}

#[tokio::test]
async fn the_admin_listener_describes_models_and_does_not_classify() {
    let server = server().await;
    for path in [
        "/models",
        "/models/cats",
        "/models/cats/versions/1",
        "/models/cats/ready",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        let response = send_admin(&server.serving, get(path)).await;
        assert_eq!(response.status, 200, "{path}");
    }
    let response = send_admin(&server.serving, post("/classify", grey(7))).await;
    response.assert_problem(404, "not-found");
    // TorchServe's path of a version.
    let response = send_admin(&server.serving, post("/models/cats/classify", grey(7))).await;
    assert_eq!(response.status, 405);
}

#[tokio::test]
async fn unknown_models_and_versions_are_not_found() {
    let server = server().await;
    for action in ["load", "unload"] {
        for path in [
            format!("/models/birds/{action}"),
            format!("/models/birds/versions/1/{action}"),
            format!("/models/cats/versions/2/{action}"),
            format!("/models/cats/versions/latest/{action}"),
        ] {
            let response = server.admin(&path).await;
            response.assert_problem(404, "model-not-found");
        }
        let path = format!("/models/cats/{action}");
        let response = send_admin(&server.serving, get(&path)).await;
        response.assert_problem(405, "method-not-allowed");
        assert_eq!(response.header("allow"), "POST");
    }
    assert_eq!(server.post(grey(7)).await.class(), 7);
}

#[tokio::test]
async fn an_unloaded_model_is_unavailable_until_it_is_loaded_on_request() {
    let server = server().await;
    admin(&server, "/models/cats/unload").await;
    server.wait_for_memory("cats", 0).await;
    let version = server.version("cats", 1).await;
    assert_eq!(version["state"], "unloaded");
    let reason = version["reason"].as_str().unwrap();
    assert!(reason.contains("POST /models/{name}/load"), "{reason}");
    for request in [
        post("/classify", grey(7)),
        post("/models/cats/versions/1/classify", grey(7)),
        get("/models/cats/ready"),
    ] {
        let response = server.send(request).await;
        response.assert_problem(503, "model-unavailable");
        assert!(response.detail().contains(reason), "{}", response.text);
    }
    // An unloaded model does not end readiness; it is reported.
    let ready = server.get("/health/ready").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text.contains("`cats`"), "{}", ready.text);

    // Changed files do not load it.
    server
        .files
        .write("cats", 1, || FakeNetwork::with_offset(100));
    for _ in 0..4 {
        server.scan();
        tokio::task::yield_now().await;
    }
    server.serving.registry().retry_failed();
    server.scan();
    server.scan();
    tokio::task::yield_now().await;
    assert_eq!(server.files.loads("cats"), [1]);
    assert_eq!(server.version("cats", 1).await["state"], "unloaded");

    admin(&server, "/models/cats/load").await;
    assert_eq!(server.post(grey(7)).await.class(), 107);
    assert_eq!(server.version("cats", 1).await.get("reason"), None);
    // Now changed files are loaded again.
    server.files.write("cats", 1, FakeNetwork::new);
    server.scan();
    server.scan();
    wait_until("the new instance", async || {
        server.post(grey(7)).await.class() == 7
    })
    .await;
}

#[tokio::test]
async fn requests_in_flight_on_an_unloaded_model_finish() {
    let server = server().await;
    let network = server.files.network("cats", 1);
    network.gate.close();
    let running = server.spawn_post(grey(1));
    wait_until("the forward pass", async || network.batch_count() == 1).await;
    let queued = server.spawn_post(grey(2));
    server.wait_for_metric("resnet_queue_depth", 1.0).await;
    admin(&server, "/models/cats/unload").await;
    network.gate.open();
    assert_eq!(running.await.unwrap().class(), 1);
    assert_eq!(queued.await.unwrap().class(), 2);
    drop(network);
    server.wait_for_memory("cats", 0).await;
}

#[tokio::test]
async fn one_version_is_loaded_and_unloaded_alone() {
    let server = Server::new(limits(), None, 4);
    for version in [1, 2] {
        server.files.write("cats", version, FakeNetwork::new);
    }
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        ..spec("cats")
    };
    server.start(vec![cats]).await;
    for version in [1, 2] {
        server.wait_for_state("cats", version, "ready").await;
    }
    admin(&server, "/models/cats/versions/2/unload").await;
    assert_eq!(server.post(grey(7)).await.result(), ("cats", 1, 7));
    assert_eq!(server.version("cats", 1).await["state"], "ready");
    assert_eq!(server.version("cats", 2).await["state"], "unloaded");
    admin(&server, "/models/cats/versions/2/load").await;
    assert_eq!(server.post(grey(7)).await.result(), ("cats", 2, 7));
    let mut loads = server.files.loads("cats");
    loads.sort_unstable();
    assert_eq!(loads, [1, 2, 2]);
}

#[tokio::test]
async fn unloading_a_model_twice_is_not_an_error() {
    let server = server().await;
    admin(&server, "/models/cats/unload").await;
    admin(&server, "/models/cats/unload").await;
    admin(&server, "/models/cats/load").await;
    admin(&server, "/models/cats/load").await;
    assert_eq!(server.post(grey(7)).await.class(), 7);
    server.wait_for_memory("cats", 1).await;
}

#[tokio::test]
async fn an_unloaded_model_that_is_loaded_on_demand_is_loaded_by_its_next_request() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![on_demand("cats")]).await;
    admin(&server, "/models/cats/load").await;
    assert_eq!(server.files.loads("cats"), [1]);
    admin(&server, "/models/cats/unload").await;
    server.wait_for_memory("cats", 0).await;
    assert_eq!(server.get("/models/cats/ready").await.text, "ready\n");
    assert_eq!(server.post(grey(7)).await.class(), 7);
    assert_eq!(server.files.loads("cats"), [1, 1]);
}

#[tokio::test]
async fn a_model_that_is_unloaded_during_a_load_stays_unloaded() {
    let server = server().await;
    server.files.gate("cats").close();
    let loading = server.serving.registry().clone();
    let load = tokio::spawn(async move { loading.load("cats", None).await });
    server.wait_for_loads("cats", 2).await;
    admin(&server, "/models/cats/unload").await;
    server.files.gate("cats").open();
    // The load may report an error; the model must not be installed.
    let _ = load.await.unwrap();
    server.wait_for_memory("cats", 0).await;
    assert_eq!(server.version("cats", 1).await["state"], "unloaded");
    admin(&server, "/models/cats/load").await;
    assert_eq!(server.post(grey(7)).await.class(), 7);
}

#[tokio::test]
async fn a_load_that_fails_after_its_model_was_unloaded_changes_nothing() {
    let server = server().await;
    server.files.gate("cats").close();
    let registry = server.serving.registry().clone();
    let load = tokio::spawn(async move { registry.load("cats", None).await });
    server.wait_for_loads("cats", 2).await;
    admin(&server, "/models/cats/unload").await;
    let unloaded = server.version("cats", 1).await;
    server.files.write_broken("cats", 1, "it is corrupt");
    server.files.gate("cats").open();
    assert!(load.await.unwrap().is_err());
    assert_eq!(server.version("cats", 1).await, unloaded);
}

#[tokio::test]
async fn a_load_follows_the_versions_that_exist() {
    let server = server().await;
    server
        .files
        .write("cats", 2, || FakeNetwork::with_offset(100));
    server.files.remove("cats", 1);
    // Version 1 serves until version 2 is ready, and is not loaded again.
    admin(&server, "/models/cats/load").await;
    assert_eq!(server.post(grey(7)).await.result(), ("cats", 2, 107));
    assert_eq!(server.files.loads("cats"), [1, 2]);
}
