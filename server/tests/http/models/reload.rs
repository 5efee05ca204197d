//! Hot reload: a version whose files change is loaded again while the old
//! instance serves.

use crate::support::client::grey;
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

/// A server of model `cats`, version 1, whose classes are not shifted.
async fn server() -> Server {
    let server = Server::new(limits(), None, 4);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![spec("cats")]).await;
    server
}

/// Writes a network whose classes are shifted by 100.
fn write_new_files(server: &Server) {
    server
        .files
        .write("cats", 1, || FakeNetwork::with_offset(100));
}

async fn load(server: &Server) {
    let response = server.admin("/models/cats/load").await;
    assert_eq!(response.status, 204, "{}", response.text);
}

#[tokio::test]
async fn requests_in_flight_finish_on_the_old_instance() {
    let server = server().await;
    let old = server.files.network("cats", 1);
    old.gate.close();
    let running = server.spawn_post(grey(1));
    wait_until("the forward pass", async || old.batch_count() == 1).await;
    let queued = server.spawn_post(grey(2));
    server.wait_for_metric("resnet_queue_depth", 1.0).await;

    write_new_files(&server);
    load(&server).await;
    assert_eq!(server.post(grey(3)).await.class(), 103);
    assert_eq!(server.files.in_memory("cats"), 2);

    old.gate.open();
    assert_eq!(running.await.unwrap().class(), 1);
    assert_eq!(queued.await.unwrap().class(), 2);
    drop(old);
    server.wait_for_memory("cats", 1).await;
    assert_eq!(server.post(grey(3)).await.class(), 103);
}

#[tokio::test]
async fn the_old_instance_serves_while_the_new_one_loads() {
    let server = server().await;
    write_new_files(&server);
    server.files.gate("cats").close();
    server.scan();
    server.scan();
    server.wait_for_loads("cats", 2).await;
    // Scans during the load do not request another one.
    for _ in 0..3 {
        server.scan();
    }
    assert_eq!(server.post(grey(3)).await.class(), 3);
    assert_eq!(server.version("cats", 1).await["state"], "ready");
    assert_eq!(server.get("/health/ready").await.status, 200);
    server.files.gate("cats").open();
    wait_until("the new instance", async || {
        server.post(grey(3)).await.class() == 103
    })
    .await;
    server.wait_for_memory("cats", 1).await;
    assert_eq!(server.files.loads("cats"), [1, 1]);
}

/// Ways in which a replacement can fail.
enum Breakage {
    Files,
    LoadPanics,
    WarmUpFails,
    WarmUpPanics,
}

impl Breakage {
    fn write(self, server: &Server) {
        let files = &server.files;
        let fails = || model::Error::Batch("it cannot run".into());
        let warm_up_fails = move || FakeNetwork::with_behavior(move |_| Err(fails()));
        let warm_up_panics = || FakeNetwork::with_behavior(|_| panic!("on purpose"));
        match self {
            Self::Files => files.write_broken("cats", 1, "it is corrupt"),
            Self::LoadPanics => files.write("cats", 1, || panic!("on purpose")),
            Self::WarmUpFails => files.write("cats", 1, warm_up_fails),
            Self::WarmUpPanics => files.write("cats", 1, warm_up_panics),
        }
    }
}

#[tokio::test]
async fn a_failed_replacement_leaves_the_old_instance_serving_and_reports_the_reason() {
    let server = server().await;
    let breakages = [
        (Breakage::Files, "it is corrupt"),
        (Breakage::LoadPanics, "the load panicked"),
        (Breakage::WarmUpFails, "it cannot run"),
        (Breakage::WarmUpPanics, "the load panicked"),
    ];
    for (failures, (breakage, reason)) in (1..).zip(breakages) {
        breakage.write(&server);
        let response = server.admin("/models/cats/load").await;
        response.assert_problem(503, "model-unavailable");
        assert!(response.detail().contains(reason), "{}", response.text);
        let version = server.version("cats", 1).await;
        assert_eq!(version["state"], "ready");
        let found = version["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found}");
        assert_eq!(server.post(grey(3)).await.class(), 3);
        let failed = r#"resnet_model_loads_total{model="cats",result="failed"}"#;
        assert_eq!(server.metric(failed).await, f64::from(failures));
    }
    write_new_files(&server);
    load(&server).await;
    assert_eq!(server.version("cats", 1).await.get("reason"), None);
    assert_eq!(server.post(grey(3)).await.class(), 103);
    server.wait_for_memory("cats", 1).await;
}

#[tokio::test]
async fn changed_files_are_loaded_once_two_scans_find_the_same() {
    let server = server().await;
    for _ in 0..4 {
        server.scan();
    }
    // A copy in progress: each scan finds other files than the one before.
    for _ in 0..4 {
        server.files.touch("cats", 1);
        server.scan();
    }
    write_new_files(&server);
    server.scan();
    tokio::task::yield_now().await;
    assert_eq!(server.files.loads("cats"), [1]);
    server.scan();
    wait_until("the new instance", async || {
        server.post(grey(3)).await.class() == 103
    })
    .await;
    for _ in 0..4 {
        server.scan();
    }
    assert_eq!(server.files.loads("cats"), [1, 1]);
}

#[tokio::test]
async fn nothing_is_installed_if_the_files_change_during_the_load() {
    let server = server().await;
    write_new_files(&server);
    server.files.gate("cats").close();
    server.scan();
    server.scan();
    server.wait_for_loads("cats", 2).await;
    server.files.touch("cats", 1);
    server.files.gate("cats").admit_one();
    // The load is repeated, or fails; the old instance serves in both cases.
    wait_until("the end of the load", async || {
        let again = server.files.loads("cats").len() > 2;
        again || server.version("cats", 1).await.get("reason").is_some()
    })
    .await;
    assert_eq!(server.post(grey(3)).await.class(), 3);

    server.files.gate("cats").open();
    server.scan();
    server.scan();
    wait_until("the new instance", async || {
        server.post(grey(3)).await.class() == 103
    })
    .await;
    let version = server.version("cats", 1).await;
    assert_eq!(version.get("reason"), None);
    server.wait_for_memory("cats", 1).await;
}

#[tokio::test]
async fn files_that_change_during_the_first_load_are_loaded_before_the_server_is_ready() {
    let server = Server::new(limits(), None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.files.gate("cats").close();
    server.apply(vec![spec("cats")]);
    server.wait_for_loads("cats", 1).await;
    write_new_files(&server);
    server.files.gate("cats").open();
    server.serving.registry().wait_until_loaded().await;
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
    assert_eq!(server.post(grey(3)).await.class(), 103);
}

#[tokio::test]
async fn a_broken_file_is_loaded_once_until_it_is_repaired() {
    let server = Server::new(limits(), None, 2);
    server.files.write_broken("cats", 1, "it is corrupt");
    server.start(vec![spec("cats")]).await;
    for _ in 0..4 {
        server.scan();
        tokio::task::yield_now().await;
    }
    assert_eq!(server.files.loads("cats"), [1]);
    assert_eq!(server.version("cats", 1).await["state"], "failed");

    server.files.write("cats", 1, FakeNetwork::new);
    server.scan();
    server.scan();
    server.wait_for_state("cats", 1, "ready").await;
    assert_eq!(server.post(grey(3)).await.class(), 3);
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
}

#[tokio::test]
async fn a_failed_load_can_be_retried_without_changed_files() {
    let server = Server::new(limits(), None, 2);
    server.files.write_broken("cats", 1, "it is corrupt");
    server.start(vec![spec("cats")]).await;
    server.scan();
    // Also if it is requested twice.
    for retries in [1, 2] {
        let loads = server.files.loads("cats").len();
        for _ in 0..retries {
            server.serving.registry().retry_failed();
        }
        server.scan();
        server.scan();
        server.wait_for_loads("cats", loads + 1).await;
        server.wait_for_state("cats", 1, "failed").await;
    }
}

#[tokio::test]
async fn metrics_describe_the_new_instance_only() {
    let server = Server::new(limits(), None, 2);
    let network = |memory| move || FakeNetwork::new().with_memory(memory);
    server.files.write("cats", 1, network(10));
    server.start(vec![spec("cats")]).await;
    server.files.write("cats", 1, network(20));
    load(&server).await;
    let memory = r#"resnet_model_memory_bytes{model="cats",version="1"}"#;
    assert_eq!(server.metric(memory).await, 20.0);
    let page = server.get("/metrics").await.text;
    let infos = page.lines().filter(|l| l.starts_with("resnet_model_info{"));
    assert_eq!(infos.count(), 1);
    let loads = r#"resnet_model_loads_total{model="cats",result="loaded"}"#;
    assert_eq!(server.metric(loads).await, 2.0);
}
