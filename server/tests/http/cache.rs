//! Outputs that are kept for equal images, and the entity tags of answers.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use resnet_server::core::keys::Scope;
use serde_json::json;

use crate::support::client::{Response, base64, grey, post};
use crate::support::keys;
use crate::support::network::FakeNetwork;
use crate::support::server::{MODEL, Server, caching, server, wait_until};

const SIZE: usize = 1 << 20;

fn with_header(name: &str, value: &str, path: &str, image: u8) -> Request<Body> {
    let mut request = post(path, grey(image));
    let name: axum::http::HeaderName = name.parse().unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn images_run(server: &Server) -> f64 {
    server.model_metric("resnet_batch_images_sum").await
}

#[tokio::test]
async fn an_equal_image_is_answered_from_the_cache_in_every_form() {
    let server = caching(SIZE).await;
    let first = server.post(grey(7)).await;
    assert_eq!((first.class(), first.header("x-cache")), (7, "miss"));
    assert!(!first.headers.contains_key("age"));
    let text = json!({"image": base64(&grey(7))}).to_string();
    for request in [
        post("/classify", grey(7)),
        post("/classify?top_k=1", grey(7)),
        post("/classify", text),
    ] {
        let response = server.send(request).await;
        assert_eq!((response.class(), response.header("x-cache")), (7, "hit"));
        assert_eq!(response.header("age"), "0");
    }
    let other = server
        .send(post(&format!("/predictions/{MODEL}"), grey(7)))
        .await;
    assert_eq!(
        (other.status.as_u16(), other.header("x-cache")),
        (200, "hit")
    );
    assert_eq!(images_run(&server).await, 1.0);
    // an embedding is another output
    let embedding = server.send(post("/embed", grey(7))).await;
    assert_eq!(embedding.header("x-cache"), "miss");
    let mixed = json!([base64(&grey(7)), base64(&grey(8)), "?"]).to_string();
    let mixed = server.send(post("/classify", mixed)).await;
    assert_eq!(mixed.header("x-cache"), "miss");
    for (result, count) in [("hit", 5.0), ("miss", 3.0), ("coalesced", 0.0)] {
        let metric = format!("resnet_cache_images_total{{result=\"{result}\"}}");
        assert_eq!(server.metric(&metric).await, count, "{result}");
    }
    assert_eq!(server.metric("resnet_cache_entries").await, 3.0);
    assert!(server.metric("resnet_cache_bytes").await > 3.0 * 1024.0);
}

#[tokio::test]
async fn equal_requests_at_the_same_time_run_once_also_when_the_first_leaves() {
    let server = caching(SIZE).await;
    let network = server.network();
    let first = server.occupy_device().await;
    let others: Vec<_> = (0..3).map(|_| server.spawn_post(grey(1))).collect();
    server.wait_for_metric("resnet_images_in_flight", 4.0).await;
    first.abort();
    wait_until("the first to leave", async || first.is_finished()).await;
    network.gate.open();
    let mut found = Vec::new();
    for other in others {
        let response = other.await.unwrap();
        assert_eq!(response.class(), 1);
        found.push(response.header("x-cache").to_owned());
    }
    found.sort();
    assert_eq!(found.last().unwrap(), "miss", "{found:?}");
    assert!(found[..2].iter().all(|found| found != "miss"), "{found:?}");
    // the one that left, and the one that took its place
    assert!(images_run(&server).await <= 2.0);
}

#[tokio::test]
async fn a_reload_makes_old_outputs_unreachable() {
    let server = caching(SIZE).await;
    let tag = server.post(grey(7)).await.header("etag").to_owned();
    let network = || FakeNetwork::with_behavior(|_| Ok(()));
    server.files.write(MODEL, 1, network);
    server.admin(&format!("/models/{MODEL}/load")).await;
    let again = server.post(grey(7)).await;
    assert_eq!((again.class(), again.header("x-cache")), (7, "miss"));
    assert_eq!(again.header("etag"), tag, "the files are the same");
}

#[tokio::test]
async fn keys_share_no_outputs_and_are_checked_before_the_cache() {
    let server = caching(SIZE).await;
    let current = server.serving.keys();
    let key = |name, limit: Option<u32>| keys::key(name, name, &[Scope::Infer], keys::rate(limit));
    current.replace(vec![key("shop", None), key("other", Some(1))]);
    let ask = async |name: &str| -> Response {
        server
            .send(with_header("x-api-key", name, "/classify", 7))
            .await
    };
    assert_eq!(ask("shop").await.header("x-cache"), "miss");
    assert_eq!(ask("shop").await.header("x-cache"), "hit");
    assert_eq!(ask("other").await.header("x-cache"), "miss");
    ask("other").await.assert_problem(429, "overloaded");
    server
        .post(grey(7))
        .await
        .assert_problem(401, "unauthorized");
    current.replace(vec![key("other", None)]);
    ask("shop").await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn an_entity_tag_stands_for_the_results_of_a_request() {
    let server = Arc::new(caching(SIZE).await);
    let tag = async |path: &str, image: u8| {
        let response = server.send(post(path, grey(image))).await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.header("etag").to_owned()
    };
    let first = tag("/classify", 7).await;
    assert!(first.starts_with("W/\"") && first.len() == 36, "{first}");
    assert_eq!(tag("/classify", 7).await, first);
    for (path, image) in [
        ("/classify", 8),
        ("/classify?top_k=1", 7),
        ("/classify?threshold=0.5", 7),
        ("/classify?labels=grey+7", 7),
    ] {
        let other = server.send(post(path, grey(image))).await;
        assert_ne!(other.header("etag"), first, "{path}");
    }
    let list = json!([base64(&grey(7))]).to_string();
    let list = server.send(post("/classify", list)).await;
    assert!(list.header("etag") != first && list.json.is_array());

    let known = server
        .send(with_header("if-none-match", &first, "/classify", 7))
        .await;
    known.assert_problem(412, "answer-unchanged");
    assert_eq!(known.header("etag"), first);
    for (tags, path, image) in [(&*first, "/classify", 8), ("*", "/classify", 7)] {
        let response = server
            .send(with_header("if-none-match", tags, path, image))
            .await;
        assert_eq!(response.class(), u64::from(image));
    }
    // a problem has no tag, and neither has an answer without a cache
    let broken = server.post("no image").await;
    assert!(!broken.headers.contains_key("etag") && !broken.headers.contains_key("x-cache"));
    let off = crate::support::server::server().await.post(grey(7)).await;
    assert!(!off.headers.contains_key("etag") && !off.headers.contains_key("x-cache"));
}

#[tokio::test]
async fn an_error_is_not_kept_and_a_full_cache_evicts() {
    let plain = server().await;
    assert_eq!(plain.metric("resnet_cache_entries").await, 0.0);
    // room for two outputs of 256 classes
    let server = caching(3600).await;
    for image in 1..=4 {
        assert_eq!(server.post(grey(image)).await.header("x-cache"), "miss");
    }
    assert_eq!(server.metric("resnet_cache_evicted_total").await, 2.0);
    assert!(server.metric("resnet_cache_bytes").await <= 3600.0);
    assert_eq!(server.post(grey(4)).await.header("x-cache"), "hit");
    assert_eq!(server.post(grey(1)).await.header("x-cache"), "miss");
    for _ in 0..2 {
        server
            .post("no image")
            .await
            .assert_problem(415, "unsupported-format");
    }
}
