//! Shutdown: new requests are rejected, those in flight are answered.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::support::client::grey;
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, server, wait_until};

fn drain(server: &Server) -> JoinHandle<()> {
    let serving = Arc::clone(&server.serving);
    tokio::spawn(async move { serving.drain().await })
}

#[tokio::test]
async fn draining_answers_all_requests_in_flight() {
    let server = server().await;
    let (first, waiting) = server.fill_queue(2..=9).await;

    let drained = drain(&server);
    wait_until("readiness to end", async || {
        server.get("/health/ready").await.status != 200
    })
    .await;
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "draining");
    assert_eq!(response.header("retry-after"), "5");
    assert_eq!(server.get("/health/live").await.status, 200);
    server.post(grey(10)).await.assert_problem(503, "draining");
    assert!(!drained.is_finished(), "nine images have no result yet");

    server.network().gate.open();
    for (task, class) in std::iter::once(first).chain(waiting).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    drained.await.unwrap();
    server.post(grey(10)).await.assert_problem(503, "draining");
}

#[tokio::test]
async fn draining_waits_for_a_request_whose_model_is_loading() {
    let server = Server::new(limits(), None, 2);
    server.files.write("pets", 1, FakeNetwork::new);
    server.start(vec![on_demand("pets")]).await;
    server.files.gate("pets").close();
    let first = server.spawn_classify("pets", grey(1));
    wait_until("the load", async || !server.files.loads("pets").is_empty()).await;

    let drained = drain(&server);
    wait_until("readiness to end", async || {
        server.get("/health/ready").await.status != 200
    })
    .await;
    let rejected = server.classify("pets", grey(2)).await;
    rejected.assert_problem(503, "draining");
    assert!(!drained.is_finished(), "a request waits for the load");

    server.files.gate("pets").open();
    assert_eq!(first.await.unwrap().class(), 1);
    drained.await.unwrap();
}

#[tokio::test]
async fn draining_does_not_wait_for_a_load_without_requests() {
    let server = Server::new(limits(), None, 2);
    server.files.write("pets", 1, FakeNetwork::new);
    server.files.gate("pets").close();
    server.apply(vec![spec("pets")]);
    drain(&server).await.unwrap();
    server
        .get("/health/ready")
        .await
        .assert_problem(503, "draining");
    server.files.gate("pets").open();
}
