//! `/metrics`: what is counted, and that it moves.

use std::sync::atomic::Ordering;

use crate::support::{Fake, grey, limits, multipart, server, server_of};

#[tokio::test]
async fn requests_count_by_route_and_status() {
    let server = server();
    let count = async |route: &str, status: u16| {
        let name = format!(r#"resnet_requests_total{{route="{route}",status="{status}"}}"#);
        server.metric(&name).await
    };
    for _ in 0..3 {
        assert_eq!(server.post(grey(1)).await.status, 200);
    }
    server
        .post("text")
        .await
        .assert_problem(415, "unsupported-format");
    server
        .get("/classify")
        .await
        .assert_problem(405, "method-not-allowed");
    for path in ["/a", "/b"] {
        server.get(path).await.assert_problem(404, "not-found");
    }
    assert_eq!(count("/classify", 200).await, 3.0);
    assert_eq!(count("/classify", 415).await, 1.0);
    assert_eq!(count("/classify", 405).await, 1.0);
    assert_eq!(
        count("other", 404).await,
        2.0,
        "made-up paths share one label"
    );
    assert_eq!(server.metric("resnet_request_seconds_count").await, 5.0);
}

#[tokio::test]
async fn every_step_of_an_image_is_timed() {
    let server = server();
    assert_eq!(server.post(grey(1)).await.status, 200);
    server
        .send(multipart(&[grey(2), b"text".to_vec(), grey(3)]))
        .await;
    assert_eq!(server.metric("resnet_decode_seconds_count").await, 4.0);
    assert_eq!(server.metric("resnet_queue_seconds_count").await, 3.0);
    let batches = server.batches().len() as f64;
    assert_eq!(server.metric("resnet_forward_seconds_count").await, batches);
    assert_eq!(server.metric("resnet_batch_images_count").await, batches);
    assert_eq!(server.metric("resnet_batch_images_sum").await, 3.0);
}

#[tokio::test]
async fn cards_are_timed_and_a_failed_batch_tells_how_many_lanes_are_left() {
    let server = server_of(Fake::on_card(2), 2, limits());
    let metrics = async || {
        [
            server.metric("resnet_card_upload_seconds_total").await,
            server.metric("resnet_card_compute_seconds_total").await,
            server.metric("resnet_card_memory_bytes").await,
            server.metric("resnet_card_lanes").await,
        ]
    };
    assert_eq!(server.post(grey(1)).await.status, 200);
    assert_eq!(metrics().await, [1.0, 2.0, 3.0, 2.0]);
    server.fake.lanes.store(1, Ordering::SeqCst);
    assert_eq!(server.post(grey(14)).await.status, 500);
    assert_eq!(metrics().await, [2.0, 4.0, 3.0, 1.0]);
}

#[tokio::test]
async fn the_page_is_openmetrics_text_and_names_the_model() {
    let server = server();
    let page = server.get("/metrics").await;
    assert!(
        page.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(page.text.ends_with("# EOF\n"));
    assert!(page.text.contains(
        r#"resnet_model_info{name="fake",architecture="mean",device="cpu",dtype="f32",digest="none"} 1"#
    ));
}
