//! `/health/ready` and the readiness of single models.

use resnet_server::core::spec::{ModelSpec, VersionPolicy};

use crate::support::client::grey;
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

#[tokio::test]
async fn the_server_is_not_ready_while_models_load_and_names_them() {
    let server = Server::new(limits(), None, 2);
    for name in ["cats", "dogs"] {
        server.files.write(name, 1, FakeNetwork::new);
        server.files.gate(name).close();
    }
    server.apply(vec![spec("cats"), spec("dogs")]);
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "starting");
    assert!(
        response.detail().contains("cats, dogs"),
        "{}",
        response.text
    );
    assert_eq!(response.header("retry-after"), "1");

    server.files.gate("cats").open();
    server.wait_for_state("cats", 1, "ready").await;
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "starting");
    let detail = response.detail();
    assert!(
        detail.contains("dogs") && !detail.contains("cats"),
        "{detail}"
    );
    // A model that is ready serves while the others load.
    assert_eq!(server.classify("cats", grey(7)).await.class(), 7);
    assert_eq!(server.get("/models/cats/ready").await.text, "ready\n");
    let response = server.get("/models/dogs/ready").await;
    response.assert_problem(503, "starting");
    let response = server.classify("dogs", grey(7)).await;
    response.assert_problem(503, "starting");

    server.files.gate("dogs").open();
    server.serving.registry().wait_until_loaded().await;
    let response = server.get("/health/ready").await;
    assert_eq!(
        (response.status.as_u16(), &*response.text),
        (200, "ready\n")
    );
}

#[tokio::test]
async fn a_model_that_failed_does_not_prevent_readiness_and_is_named() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.write_broken("dogs", 1, "it is corrupt");
    server
        .start(vec![spec("cats"), spec("dogs"), spec("fish")])
        .await;
    let response = server.get("/health/ready").await;
    assert_eq!(response.status, 200);
    let lines: Vec<&str> = response.text.lines().collect();
    assert_eq!(lines[0], "ready");
    assert_eq!(lines[1], "model `dogs` failed to load: it is corrupt");
    assert!(lines[2].starts_with("model `fish` failed to load: "));
    assert!(lines[2].contains("it is empty"), "{}", lines[2]);
    assert_eq!(lines.len(), 3);

    for path in ["/models/dogs/ready", "/models/dogs/versions/1/ready"] {
        let response = server.get(path).await;
        response.assert_problem(503, "model-unavailable");
        assert!(response.detail().contains("it is corrupt"));
    }
    let response = server.classify("dogs", grey(7)).await;
    response.assert_problem(503, "model-unavailable");
    assert!(response.detail().contains("it is corrupt"));
    assert_eq!(server.post(grey(7)).await.class(), 7);
}

#[tokio::test]
async fn models_that_are_loaded_on_demand_do_not_delay_readiness() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.write("dogs", 1, FakeNetwork::new);
    server.files.gate("dogs").close();
    server.start(vec![spec("cats"), on_demand("dogs")]).await;
    let ready = async |path: &str| server.get(path).await.text;
    assert_eq!(ready("/health/ready").await, "ready\n");
    assert_eq!(ready("/models/dogs/ready").await, "ready\n");
    assert_eq!(ready("/models/dogs/versions/1/ready").await, "ready\n");

    let first = server.spawn_classify("dogs", grey(7));
    wait_until("the load", async || !server.files.loads("dogs").is_empty()).await;
    assert_eq!(ready("/health/ready").await, "ready\n");
    let response = server.get("/models/dogs/ready").await;
    response.assert_problem(503, "starting");
    server.files.gate("dogs").open();
    assert_eq!(first.await.unwrap().class(), 7);
    assert_eq!(ready("/models/dogs/ready").await, "ready\n");
}

#[tokio::test]
async fn a_failed_replacement_does_not_end_readiness() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![spec("cats")]).await;
    server.files.write_broken("cats", 1, "it is corrupt");
    let response = server.admin("/models/cats/load").await;
    response.assert_problem(503, "model-unavailable");
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
    assert_eq!(server.get("/models/cats/ready").await.text, "ready\n");
}

#[tokio::test]
async fn the_error_of_a_lost_device_names_the_model() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.write("dogs", 1, || FakeNetwork::on_gpu(1));
    server.start(vec![spec("cats"), spec("dogs")]).await;
    let dogs = server.files.network("dogs", 1);
    *dogs.device_error.lock().unwrap() = Some("on purpose".into());
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "device-lost");
    assert!(response.detail().contains("dogs"), "{}", response.text);
    server
        .classify("dogs", grey(7))
        .await
        .assert_problem(503, "device-lost");
    assert_eq!(server.classify("cats", grey(7)).await.class(), 7);
}

#[tokio::test]
async fn the_server_is_not_ready_before_it_is_configured() {
    let server = Server::new(limits(), None, 2);
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "starting");
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![spec("cats")]).await;
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
}

#[tokio::test]
async fn the_server_is_ready_once_all_versions_have_been_loaded_and_stays_ready() {
    let server = Server::new(limits(), None, 2);
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        ..spec("cats")
    };
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.write("cats", 2, FakeNetwork::new);
    let gate = server.files.gate("cats");
    gate.close();
    server.apply(vec![cats]);
    gate.admit_one();
    let is_ready = async |version| server.version("cats", version).await["state"] == "ready";
    wait_until("one version", async || {
        is_ready(1).await || is_ready(2).await
    })
    .await;
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "starting");
    gate.open();
    server.serving.registry().wait_until_loaded().await;
    assert!(is_ready(1).await && is_ready(2).await);

    gate.close();
    server.files.write("cats", 3, FakeNetwork::new);
    server.scan();
    server.wait_for_loads("cats", 3).await;
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
    gate.open();
}

#[tokio::test]
async fn a_later_load_of_a_model_does_not_end_readiness() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.write_broken("dogs", 1, "it is corrupt");
    server.start(vec![spec("cats"), spec("dogs")]).await;
    server.files.write("dogs", 1, FakeNetwork::new);
    server.files.gate("dogs").close();
    server.scan();
    server.scan();
    server.wait_for_loads("dogs", 2).await;
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
    let response = server.get("/models/dogs/ready").await;
    response.assert_problem(503, "starting");
    server.files.gate("dogs").open();
    server.wait_for_state("dogs", 1, "ready").await;
}
