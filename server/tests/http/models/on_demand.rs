//! Models that are loaded when the first request arrives.

use std::time::Duration;

use resnet_server::core::limits::Limits;

use crate::support::client::grey;
use crate::support::loader::on_demand;
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, wait_until};

async fn server(limits: Limits) -> Server {
    let server = Server::new(limits, None, 2);
    server.files.write("cats", 1, FakeNetwork::new);
    server.start(vec![on_demand("cats")]).await;
    server
}

#[tokio::test]
async fn the_first_request_waits_for_the_load_and_is_answered() {
    let server = server(limits()).await;
    assert!(server.files.loads("cats").is_empty());
    assert_eq!(server.version("cats", 1).await["state"], "unloaded");
    server.files.gate("cats").close();
    let first = server.spawn_post(grey(7));
    server.wait_for_loads("cats", 1).await;
    assert_eq!(server.version("cats", 1).await["state"], "loading");
    assert!(!first.is_finished());
    server.files.gate("cats").open();
    assert_eq!(first.await.unwrap().class(), 7);
    assert_eq!(server.version("cats", 1).await["state"], "ready");
    assert_eq!(server.post(grey(8)).await.class(), 8);
    assert_eq!(server.files.loads("cats"), [1]);
}

#[tokio::test]
async fn concurrent_first_requests_load_the_model_once() {
    let server = server(limits()).await;
    server.files.gate("cats").close();
    let tasks: Vec<_> = (1..=8)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.wait_for_loads("cats", 1).await;
    server.files.gate("cats").open();
    for (task, class) in tasks.into_iter().zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(server.files.loads("cats"), [1]);
}

#[tokio::test]
async fn a_failed_load_is_reported_and_not_retried_for_each_request() {
    let server = server(limits()).await;
    server.files.write_broken("cats", 1, "it is corrupt");
    server.files.gate("cats").close();
    let tasks: Vec<_> = (1..=4)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.wait_for_loads("cats", 1).await;
    server.files.gate("cats").open();
    for task in tasks {
        let response = task.await.unwrap();
        response.assert_problem(503, "model-unavailable");
        assert!(response.detail().contains("it is corrupt"));
        assert_eq!(response.header("retry-after"), "1");
    }
    let response = server.post(grey(5)).await;
    response.assert_problem(503, "model-unavailable");
    assert!(response.detail().contains("it is corrupt"));
    assert_eq!(server.files.loads("cats"), [1], "within the retry pause");
    assert_eq!(server.version("cats", 1).await["state"], "failed");

    // A load on request does not wait for the end of the pause.
    server.files.write("cats", 1, FakeNetwork::new);
    let response = server.admin("/models/cats/load").await;
    assert_eq!(response.status, 204, "{}", response.text);
    assert_eq!(server.post(grey(5)).await.class(), 5);
}

#[tokio::test]
async fn the_load_continues_if_the_client_disconnects() {
    let server = server(limits()).await;
    server.files.gate("cats").close();
    let leaves = server.spawn_post(grey(7));
    server.wait_for_loads("cats", 1).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    // The next request waits for the same load.
    let mut next = std::pin::pin!(server.post(grey(8)));
    let early = tokio::time::timeout(Duration::from_millis(20), &mut next).await;
    assert!(early.is_err(), "the model is still loading");
    assert_eq!(server.files.loads("cats"), [1]);
    server.files.gate("cats").open();
    assert_eq!(next.await.class(), 8);
    assert_eq!(server.files.loads("cats"), [1]);
}

#[tokio::test]
async fn a_load_that_takes_longer_than_the_request_may_continues() {
    let mut limits = limits();
    limits.request_timeout = Duration::from_millis(50);
    let server = server(limits).await;
    server.files.gate("cats").close();
    server
        .post(grey(7))
        .await
        .assert_problem(504, "deadline-exceeded");
    server.files.gate("cats").open();
    server.wait_for_state("cats", 1, "ready").await;
    assert_eq!(server.files.loads("cats"), [1]);
}

#[tokio::test]
async fn changed_files_are_loaded_only_if_the_model_is_in_memory() {
    let server = server(limits()).await;
    let shifted = |offset| move || FakeNetwork::with_offset(offset);
    server.scan();
    server.files.write("cats", 1, shifted(10));
    for _ in 0..3 {
        server.scan();
        tokio::task::yield_now().await;
    }
    assert!(server.files.loads("cats").is_empty());
    assert_eq!(server.post(grey(7)).await.class(), 17);

    server.files.write("cats", 1, shifted(20));
    server.scan();
    server.scan();
    wait_until("the new instance", async || {
        server.post(grey(7)).await.class() == 27
    })
    .await;
    assert_eq!(server.files.loads("cats"), [1, 1]);
}
