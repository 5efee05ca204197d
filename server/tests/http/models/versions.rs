//! Versions that appear and disappear while the server runs.

use resnet_server::core::spec::{ModelSpec, VersionPolicy};

use crate::support::client::{grey, post};
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

/// Writes version `version`, whose classes are shifted by 10 times its number.
fn write(server: &Server, version: u8) {
    server.files.write("cats", version.into(), move || {
        FakeNetwork::with_offset(10 * version)
    });
}

/// A server of these versions of model `cats`.
async fn server(versions: &[u8], policy: VersionPolicy) -> Server {
    let server = Server::new(limits(), None, 4);
    for &version in versions {
        write(&server, version);
    }
    let cats = ModelSpec {
        versions: policy,
        ..spec("cats")
    };
    server.start(vec![cats]).await;
    // The first version that is ready ends the wait.
    wait_until("all versions", async || {
        !states(&server)
            .await
            .iter()
            .any(|(_, state)| state == "loading")
    })
    .await;
    server
}

async fn states(server: &Server) -> Vec<(u64, String)> {
    let model = server.get("/models/cats").await.json;
    let versions = model["versions"].as_array().unwrap().iter();
    let state = |version: &serde_json::Value| {
        let state = version["state"].as_str().unwrap().to_owned();
        (version["version"].as_u64().unwrap(), state)
    };
    versions.map(state).collect()
}

/// The numbers of the versions that the server has.
async fn versions(server: &Server) -> Vec<u64> {
    let states = states(server).await;
    states.into_iter().map(|(version, _)| version).collect()
}

/// The version that serves a request that names none.
async fn current(server: &Server) -> u64 {
    let response = server.post(grey(3)).await;
    let (_, version, class) = response.result();
    assert_eq!(class, 3 + 10 * version);
    version
}

/// Sends an image to one version.
async fn classify(server: &Server, version: u64) -> crate::support::client::Response {
    let path = format!("/models/cats/versions/{version}/classify");
    server.send(post(&path, grey(3))).await
}

#[tokio::test]
async fn a_new_latest_version_replaces_the_old_one_once_it_is_ready() {
    let server = server(&[1], VersionPolicy::Latest).await;
    assert_eq!(current(&server).await, 1);
    server.files.gate("cats").close();
    write(&server, 2);
    server.scan();
    server.wait_for_loads("cats", 2).await;
    for _ in 0..3 {
        server.scan();
        assert_eq!(current(&server).await, 1, "version 2 is still loading");
        assert_eq!(server.get("/health/ready").await.status, 200);
    }
    let response = classify(&server, 2).await;
    response.assert_problem(503, "starting");

    server.files.gate("cats").open();
    server.wait_for_state("cats", 2, "ready").await;
    assert_eq!(current(&server).await, 2);
    server.scan();
    assert_eq!(versions(&server).await, [2]);
    let response = classify(&server, 1).await;
    response.assert_problem(404, "model-not-found");
    server.wait_for_memory("cats", 1).await;
    assert_eq!(server.files.loads("cats"), [1, 2], "each is loaded once");
}

#[tokio::test]
async fn a_new_version_that_is_broken_leaves_the_old_one_serving() {
    let server = server(&[1], VersionPolicy::Latest).await;
    server.files.write_broken("cats", 2, "it is corrupt");
    server.scan();
    server.wait_for_state("cats", 2, "failed").await;
    for _ in 0..3 {
        server.scan();
        assert_eq!(current(&server).await, 1);
    }
    let version = server.version("cats", 2).await;
    assert_eq!(version["reason"], "it is corrupt");

    write(&server, 2);
    server.scan();
    server.scan();
    server.wait_for_state("cats", 2, "ready").await;
    server.scan();
    assert_eq!(current(&server).await, 2);
    assert_eq!(versions(&server).await, [2]);
}

#[tokio::test]
async fn removing_the_latest_version_returns_to_the_one_before() {
    let server = server(&[1, 2], VersionPolicy::Latest).await;
    assert_eq!(versions(&server).await, [2]);
    server.files.remove("cats", 2);
    server.files.gate("cats").close();
    server.scan();
    server.wait_for_loads("cats", 2).await;
    assert_eq!(current(&server).await, 2, "version 1 is still loading");
    server.files.gate("cats").open();
    server.wait_for_state("cats", 1, "ready").await;
    server.scan();
    assert_eq!(versions(&server).await, [1]);
    assert_eq!(current(&server).await, 1);
    server.wait_for_memory("cats", 1).await;
}

#[tokio::test]
async fn with_policy_all_every_version_is_served() {
    let server = server(&[1, 2], VersionPolicy::All).await;
    assert_eq!(versions(&server).await, [1, 2]);
    assert_eq!(classify(&server, 1).await.class(), 13);
    assert_eq!(classify(&server, 2).await.class(), 23);

    write(&server, 3);
    server.scan();
    server.wait_for_state("cats", 3, "ready").await;
    assert_eq!(classify(&server, 3).await.class(), 33);
    assert_eq!(current(&server).await, 3);

    server.files.remove("cats", 1);
    server.scan();
    assert_eq!(versions(&server).await, [2, 3]);
    let response = classify(&server, 1).await;
    response.assert_problem(404, "model-not-found");
    server.wait_for_memory("cats", 2).await;
}

#[tokio::test]
async fn only_listed_versions_are_served() {
    let server = server(&[1, 2], VersionPolicy::Only(vec![1, 3])).await;
    assert_eq!(versions(&server).await, [1]);
    assert_eq!(current(&server).await, 1);
    let response = classify(&server, 2).await;
    response.assert_problem(404, "model-not-found");

    for version in [3, 4] {
        write(&server, version);
    }
    server.scan();
    server.wait_for_state("cats", 3, "ready").await;
    assert_eq!(versions(&server).await, [1, 3]);
    assert_eq!(current(&server).await, 3);
    assert_eq!(server.files.loads("cats"), [1, 3]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_changes_nothing() {
    let server = server(&[1, 2], VersionPolicy::All).await;
    server
        .files
        .set_list_error(Some("the volume is not mounted"));
    server.scan();
    assert_eq!(versions(&server).await, [1, 2]);
    assert_eq!(current(&server).await, 2);
    let model = server.get("/models/cats").await.json;
    let reason = model["reason"].as_str().unwrap();
    assert!(reason.contains("the volume is not mounted"), "{reason}");

    server.files.set_list_error(None);
    server.scan();
    let model = server.get("/models/cats").await.json;
    assert_eq!(model.get("reason"), None);
    assert_eq!(server.files.loads("cats").len(), 2);
}

#[tokio::test]
async fn requests_in_flight_on_a_removed_version_finish() {
    let server = server(&[1, 2], VersionPolicy::All).await;
    let removed = server.files.network("cats", 1);
    removed.gate.close();
    let request = post("/models/cats/versions/1/classify", grey(3));
    let running = server.spawn(request);
    wait_until("the forward pass", async || removed.batch_count() == 1).await;
    server.files.remove("cats", 1);
    server.scan();
    let response = classify(&server, 1).await;
    response.assert_problem(404, "model-not-found");
    removed.gate.open();
    assert_eq!(running.await.unwrap().result(), ("cats", 1, 13));
    drop(removed);
    server.wait_for_memory("cats", 1).await;
}

#[tokio::test]
async fn the_newest_version_of_a_model_loaded_on_demand_serves_whatever_is_loaded() {
    let server = Server::new(limits(), None, 2);
    write(&server, 1);
    write(&server, 2);
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        ..on_demand("cats")
    };
    server.start(vec![cats]).await;
    assert_eq!(classify(&server, 1).await.class(), 13);
    assert_eq!(current(&server).await, 2, "version 1 is loaded, but older");
}

#[tokio::test]
async fn traffic_is_split_between_versions_that_are_loaded_on_demand() {
    let server = Server::new(limits(), None, 2);
    write(&server, 1);
    write(&server, 2);
    let cats = ModelSpec {
        versions: VersionPolicy::All,
        traffic: [(1, 90), (2, 10)].into(),
        ..on_demand("cats")
    };
    server.start(vec![cats]).await;
    let mut served = [0; 2];
    for _ in 0..100 {
        served[current(&server).await as usize - 1] += 1;
    }
    assert_eq!(served, [90, 10]);
}
