//! The limit on the memory of models, and the eviction of models that are
//! loaded on demand.

use crate::support::client::grey;
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

/// A server without models that allows 100 bytes of them.
fn server() -> Server {
    Server::new(limits(), Some(100), 4)
}

/// Writes models of 40 bytes.
fn write(server: &Server, names: &[&str]) {
    for name in names {
        server
            .files
            .write(name, 1, || FakeNetwork::new().with_memory(40));
    }
}

async fn state(server: &Server, model: &str) -> String {
    let version = server.version(model, 1).await;
    version["state"].as_str().unwrap().to_owned()
}

async fn states<const N: usize>(server: &Server, models: [&str; N]) -> Vec<String> {
    let mut states = Vec::new();
    for model in models {
        states.push(state(server, model).await);
    }
    states
}

#[tokio::test]
async fn the_least_recently_used_model_is_evicted() {
    let server = server();
    let models = ["ants", "bees", "cats"];
    write(&server, &models);
    server.start(models.map(on_demand).to_vec()).await;
    for model in ["ants", "bees", "ants", "cats"] {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    let found = states(&server, models).await;
    assert_eq!(found, ["ready", "unloaded", "ready"]);
    server.wait_for_memory("bees", 0).await;
    let memory = r#"resnet_model_memory_bytes{model="bees",version="1"}"#;
    let page = server.get("/metrics").await.text;
    assert!(!page.contains(memory), "the model is not in memory");

    // An evicted model is loaded again by its next request.
    assert_eq!(server.classify("bees", grey(7)).await.class(), 7);
    let found = states(&server, models).await;
    assert_eq!(found, ["unloaded", "ready", "ready"]);
    server.wait_for_memory("ants", 0).await;
    assert_eq!(server.files.loads("bees"), [1, 1]);
}

#[tokio::test]
async fn models_that_are_loaded_at_start_are_not_evicted() {
    let server = server();
    let at_start = ["ants", "bees"];
    write(&server, &[at_start[0], at_start[1], "cats"]);
    let specs = [spec("ants"), spec("bees"), on_demand("cats")];
    server.start(specs.to_vec()).await;
    let response = server.classify("cats", grey(7)).await;
    response.assert_problem(503, "model-unavailable");
    // The memory that it needs, the limit, and the memory that stays in use.
    for figure in ["needs 40 bytes", "is 100 bytes", "use 80"] {
        assert!(response.detail().contains(figure), "{}", response.text);
    }
    for model in at_start {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    assert_eq!(server.files.loads("ants"), [1]);
    server.wait_for_memory("cats", 0).await;
}

#[tokio::test]
async fn a_model_that_can_never_fit_evicts_nothing_and_is_unavailable() {
    let server = server();
    write(&server, &["ants", "bees"]);
    let large = || FakeNetwork::new().with_memory(200);
    server.files.write("whales", 1, large);
    let models = ["ants", "bees", "whales"];
    server.start(models.map(on_demand).to_vec()).await;
    for model in ["ants", "bees"] {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    let response = server.classify("whales", grey(7)).await;
    response.assert_problem(503, "model-unavailable");
    for figure in ["200 bytes", "100 bytes"] {
        assert!(response.detail().contains(figure), "{}", response.text);
    }
    let found = states(&server, models).await;
    assert_eq!(found, ["ready", "ready", "failed"]);
    server.wait_for_memory("whales", 0).await;
}

#[tokio::test]
async fn a_model_whose_files_are_too_large_is_not_read() {
    let server = server();
    write(&server, &["ants", "whales"]);
    server.files.set_estimate("whales", 1, 200);
    server
        .start(["ants", "whales"].map(on_demand).to_vec())
        .await;
    assert_eq!(server.classify("ants", grey(7)).await.class(), 7);
    let response = server.classify("whales", grey(7)).await;
    response.assert_problem(503, "model-unavailable");
    assert!(response.detail().contains("200 bytes"), "{}", response.text);
    assert!(server.files.loads("whales").is_empty());
    assert_eq!(state(&server, "ants").await, "ready");
}

#[tokio::test]
async fn memory_is_freed_before_a_model_is_read() {
    let server = server();
    let models = ["ants", "bees", "cats"];
    write(&server, &models);
    server.files.set_estimate("cats", 1, 40);
    server.start(models.map(on_demand).to_vec()).await;
    for model in ["ants", "bees"] {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    server.files.gate("cats").close();
    let waiting = server.spawn_classify("cats", grey(7));
    server.wait_for_loads("cats", 1).await;
    assert_eq!(state(&server, "ants").await, "unloaded");
    server.wait_for_memory("ants", 0).await;
    server.files.gate("cats").open();
    assert_eq!(waiting.await.unwrap().class(), 7);
}

#[tokio::test]
async fn requests_in_flight_on_an_evicted_model_finish() {
    let server = server();
    let models = ["ants", "bees", "cats"];
    write(&server, &models);
    server.start(models.map(on_demand).to_vec()).await;
    for model in ["ants", "bees"] {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    let ants = server.files.network("ants", 1);
    ants.gate.close();
    let running = server.spawn_classify("ants", grey(8));
    wait_until("the forward pass", async || ants.batch_count() == 2).await;
    let queued = server.spawn_classify("ants", grey(9));
    server.wait_for_metric("resnet_queue_depth", 1.0).await;
    // Two other models are used after it.
    assert_eq!(server.classify("bees", grey(7)).await.class(), 7);
    assert_eq!(server.classify("cats", grey(7)).await.class(), 7);
    assert_eq!(state(&server, "ants").await, "unloaded");
    ants.gate.open();
    assert_eq!(running.await.unwrap().class(), 8);
    assert_eq!(queued.await.unwrap().class(), 9);
    drop(ants);
    server.wait_for_memory("ants", 0).await;
}

#[tokio::test]
async fn a_replacement_needs_no_memory_beside_the_old_instance() {
    let server = server();
    let network = |offset| move || FakeNetwork::with_offset(offset).with_memory(80);
    server.files.write("cats", 1, network(0));
    server.start(vec![spec("cats")]).await;
    server.files.write("cats", 1, network(100));
    let response = server.admin("/models/cats/load").await;
    assert_eq!(response.status, 204, "{}", response.text);
    assert_eq!(server.post(grey(7)).await.class(), 107);
}

#[tokio::test]
async fn a_model_that_is_loaded_at_start_evicts_one_that_is_not() {
    let server = server();
    write(&server, &["ants", "bees", "cats"]);
    let first = vec![on_demand("ants"), on_demand("bees")];
    server.start(first.clone()).await;
    for model in ["ants", "bees"] {
        assert_eq!(server.classify(model, grey(7)).await.class(), 7);
    }
    server.start([first, vec![spec("cats")]].concat()).await;
    let found = states(&server, ["ants", "bees", "cats"]).await;
    assert_eq!(found, ["unloaded", "ready", "ready"]);
}
