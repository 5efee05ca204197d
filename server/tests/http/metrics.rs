//! `/metrics`: what is counted, and that it moves.

use crate::support::{grey, multipart, server};

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
