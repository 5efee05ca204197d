//! Responses count as memory of bodies until the client has read them, whichever route
//! they come from. Errors, health checks and metrics are sent when it is all in use.

use std::sync::Arc;

use axum::body::to_bytes;
use resnet_server::core::admission::ByteShare;
use resnet_server::core::limits::Limits;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use tower::ServiceExt;

use crate::support::client::{get, grey};
use crate::support::server::{Server, limits, server_with};

const MEMORY: usize = 40 << 10;

async fn server() -> Server {
    let limits = Limits {
        body_memory: MEMORY,
        max_body: MEMORY,
        ..limits()
    };
    server_with(limits, |_| Ok(())).await
}

/// All memory of bodies but `left` bytes.
fn all_but(server: &Server, left: usize) -> ByteShare {
    let mut share = server.serving.admission().bytes();
    share.grow(MEMORY - left).unwrap();
    share
}

#[tokio::test]
async fn a_response_that_is_not_read_takes_memory_of_bodies() {
    let server = server().await;
    let router = routes::public(Arc::clone(&server.serving), &Protocols::default());
    let response = router.oneshot(get("/models/fake")).await.unwrap();
    let length: usize = response.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(length > 5000, "{length} bytes are not counted");
    let mut share = server.serving.admission().bytes();
    assert!(share.grow(MEMORY - length + 1).is_err());
    drop(all_but(&server, length));
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(body.len(), length);
    share.grow(MEMORY).unwrap();
}

#[tokio::test]
async fn small_responses_and_metrics_are_sent_when_all_memory_is_in_use() {
    let server = server().await;
    let held = all_but(&server, 0);
    server
        .get("/models/fake")
        .await
        .assert_problem(429, "overloaded");
    server.post(grey(7)).await.assert_problem(429, "overloaded");
    server.get("/no").await.assert_problem(404, "not-found");
    // The pages are part of the program.
    for path in [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/",
        "/openapi.json",
    ] {
        let response = server.get(path).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text);
    }
    drop(held);
    assert_eq!(server.get("/models/fake").await.status, 200);
    assert_eq!(server.post(grey(7)).await.class(), 7);
}
