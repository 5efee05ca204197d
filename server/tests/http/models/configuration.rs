//! A configuration that changes while the server runs.

use resnet_server::core::spec::{LoadPolicy, ModelSpec, VersionPolicy};

use crate::support::client::grey;
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

async fn server() -> Server {
    let server = Server::new(limits(), None, 4);
    server.files.write("cats", 1, FakeNetwork::new);
    server
        .files
        .write("dogs", 1, || FakeNetwork::with_offset(100));
    server.start(vec![spec("cats")]).await;
    server
}

#[tokio::test]
async fn the_same_configuration_loads_nothing_again() {
    let server = server().await;
    server.start(vec![spec("cats")]).await;
    tokio::task::yield_now().await;
    assert_eq!(server.files.loads("cats"), [1]);
}

#[tokio::test]
async fn an_added_model_is_loaded_and_a_removed_one_is_freed() {
    let server = server().await;
    server.start(vec![spec("cats"), spec("dogs")]).await;
    assert_eq!(server.classify("dogs", grey(3)).await.class(), 103);
    assert_eq!(server.post(grey(3)).await.class(), 3);

    let cats = server.files.network("cats", 1);
    cats.gate.close();
    let running = server.spawn_classify("cats", grey(4));
    wait_until("the forward pass", async || cats.batch_count() == 2).await;
    server.start(vec![spec("dogs")]).await;
    server
        .classify("cats", grey(3))
        .await
        .assert_problem(404, "model-not-found");
    assert_eq!(server.post(grey(3)).await.result(), ("dogs", 1, 103));
    cats.gate.open();
    assert_eq!(running.await.unwrap().class(), 4);
    drop(cats);
    server.wait_for_memory("cats", 0).await;
    assert_eq!(server.files.loads("dogs"), [1]);
}

#[tokio::test]
async fn a_model_that_is_removed_during_its_load_is_not_installed() {
    let server = server().await;
    server.files.gate("dogs").close();
    server.apply(vec![spec("cats"), spec("dogs")]);
    server.wait_for_loads("dogs", 1).await;
    server.start(vec![spec("cats")]).await;
    server.files.gate("dogs").open();
    server.wait_for_memory("dogs", 0).await;
    server
        .classify("dogs", grey(3))
        .await
        .assert_problem(404, "model-not-found");
    assert_eq!(server.get("/health/ready").await.text, "ready\n");
}

#[tokio::test]
async fn changed_options_load_a_model_again_while_the_old_instance_serves() {
    let server = server().await;
    server.files.gate("cats").close();
    let changed = ModelSpec {
        max_batch: Some(1),
        ..spec("cats")
    };
    server.apply(vec![changed]);
    server.wait_for_loads("cats", 2).await;
    assert_eq!(server.post(grey(3)).await.class(), 3);
    let old = server.files.network("cats", 1);
    server.files.gate("cats").open();
    drop(old);
    wait_until("the new instance", async || {
        let loads = r#"resnet_model_loads_total{model="cats",result="loaded"}"#;
        server.metric(loads).await == 2.0
    })
    .await;
    server.wait_for_memory("cats", 1).await;

    let network = server.files.network("cats", 1);
    network.gate.close();
    let tasks: Vec<_> = (1..=3)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    wait_until("the first batch", async || network.batch_count() == 1).await;
    server.wait_for_metric("resnet_queue_depth", 2.0).await;
    network.gate.open();
    for task in tasks {
        assert_eq!(task.await.unwrap().status, 200);
    }
    assert_eq!(network.batch_count(), 3, "max_batch is 1");
}

#[tokio::test]
async fn default_aliases_and_traffic_change_without_a_load() {
    let server = server().await;
    server.files.write("dogs", 2, FakeNetwork::new);
    let all = |aliases: &[&str], traffic: &[(u64, u32)]| ModelSpec {
        versions: VersionPolicy::All,
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        traffic: traffic.iter().copied().collect(),
        ..spec("dogs")
    };
    server
        .start(vec![all(&["hounds"], &[(1, 1)]), spec("cats")])
        .await;
    for version in [1, 2] {
        server.wait_for_state("dogs", version, "ready").await;
    }
    assert_eq!(server.post(grey(3)).await.result(), ("dogs", 1, 103));
    server
        .start(vec![spec("cats"), all(&["puppies"], &[(2, 1)])])
        .await;
    assert_eq!(server.post(grey(3)).await.result(), ("cats", 1, 3));
    let response = server.classify("puppies", grey(3)).await;
    assert_eq!(response.result(), ("dogs", 2, 3));
    server
        .classify("hounds", grey(3))
        .await
        .assert_problem(404, "model-not-found");
    tokio::task::yield_now().await;
    assert_eq!(server.files.loads("cats"), [1]);
    assert_eq!(server.files.loads("dogs").len(), 2);
}

#[tokio::test]
async fn an_alias_can_be_the_default() {
    let server = server().await;
    let cats = ModelSpec {
        aliases: vec!["production".into()],
        ..spec("cats")
    };
    let specs = vec![cats, spec("dogs")];
    server.serving.registry().apply(specs, "production");
    assert_eq!(server.post(grey(3)).await.result(), ("cats", 1, 3));
}

#[tokio::test]
async fn a_model_that_is_now_loaded_at_start_is_loaded() {
    let server = server().await;
    server.start(vec![spec("cats"), on_demand("dogs")]).await;
    assert!(server.files.loads("dogs").is_empty());
    server.start(vec![spec("cats"), spec("dogs")]).await;
    assert_eq!(server.classify("dogs", grey(3)).await.class(), 103);
    assert_eq!(server.files.loads("dogs"), [1]);
}

#[tokio::test]
async fn a_loaded_model_that_is_now_loaded_on_demand_stays_loaded() {
    let server = server().await;
    let cats = ModelSpec {
        load: LoadPolicy::OnDemand,
        ..spec("cats")
    };
    server.start(vec![cats]).await;
    assert_eq!(server.post(grey(3)).await.class(), 3);
    assert_eq!(server.files.loads("cats"), [1]);
}
