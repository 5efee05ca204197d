//! `/metrics`: what is counted, and when.

use std::sync::atomic::Ordering;

use crate::support::client::{grey, multipart};
use crate::support::network::FakeNetwork;
use crate::support::server::{limits, server, server_of};

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let server = server().await;
    let count = async |route: &str, status: u16| {
        let name = format!(
            r#"resnet_requests_total{{route="{route}",status="{status}",protocol="native"}}"#
        );
        server.metric(&name).await
    };
    let timed = async |route: &str| {
        let name = format!(r#"resnet_request_seconds_count{{route="{route}",protocol="native"}}"#);
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
    assert_eq!(server.classify("fake", grey(1)).await.status, 200);
    server
        .classify("dogs", grey(1))
        .await
        .assert_problem(404, "model-not-found");
    assert_eq!(count("/classify", 200).await, 3.0);
    assert_eq!(count("/classify", 415).await, 1.0);
    assert_eq!(count("/classify", 405).await, 1.0);
    assert_eq!(timed("/classify").await, 5.0);
    let route = "/models/{name}/classify";
    assert_eq!(count(route, 200).await, 1.0);
    assert_eq!(
        count(route, 404).await,
        1.0,
        "names of unknown models must not become labels"
    );
    assert_eq!(timed(route).await, 2.0);
    assert_eq!(
        count("other", 404).await,
        2.0,
        "unknown paths share one label"
    );
    assert_eq!(timed("other").await, 2.0);
    let of_model = async |status: u16| {
        let name = format!(
            r#"resnet_model_requests_total{{model="fake",version="1",status="{status}",protocol="native"}}"#
        );
        server.metric(&name).await
    };
    assert_eq!((of_model(200).await, of_model(415).await), (4.0, 1.0));
    let page = server.get("/metrics").await.text;
    assert!(!page.contains("dogs"), "{page}");
}

#[tokio::test]
async fn the_counter_of_classified_requests_exists_before_the_first_one() {
    let page = server().await.get("/metrics").await.text;
    let line = r#"resnet_requests_total{route="/classify",status="200",protocol="native"} 0"#;
    assert!(page.lines().any(|found| found == line), "{page}");
}

#[tokio::test]
async fn each_step_of_an_image_is_timed() {
    let server = server().await;
    assert_eq!(server.post(grey(1)).await.status, 200);
    server
        .send(multipart(&[grey(2), b"text".to_vec(), grey(3)]))
        .await;
    let metric = async |name: &str| server.model_metric(name).await;
    assert_eq!(metric("resnet_decode_seconds_count").await, 4.0);
    assert_eq!(metric("resnet_queue_seconds_count").await, 3.0);
    let batches = server.batches().len() as f64;
    assert_eq!(metric("resnet_forward_seconds_count").await, batches);
    assert_eq!(metric("resnet_batch_images_count").await, batches);
    assert_eq!(metric("resnet_batch_images_sum").await, 3.0);
    for (format, result, count) in [("png", "valid", 3.0), ("unknown", "invalid", 1.0)] {
        let name = format!(r#"resnet_decoded_images_total{{format="{format}",result="{result}"}}"#);
        assert_eq!(server.metric(&name).await, count);
    }
}

#[tokio::test]
async fn budgets_and_the_process_are_measured_at_each_scrape() {
    let server = server().await;
    let share = {
        let mut share = server.serving.admission().bytes();
        share.grow(1000).unwrap();
        share
    };
    let used = r#"resnet_budget_used{budget="bodies"}"#;
    assert_eq!(server.metric(used).await, 1000.0);
    drop(share);
    assert_eq!(server.metric(used).await, 0.0);
    let limit = |budget: &str| format!(r#"resnet_budget_limit{{budget="{budget}"}}"#);
    assert_eq!(server.metric(&limit("images")).await, 64.0);
    assert_eq!(server.metric(&limit("bodies")).await, f64::from(4 << 20));
    for name in [
        "process_resident_memory_bytes",
        "process_threads",
        "process_open_fds",
    ] {
        assert!(server.metric(name).await > 0.0, "{name}");
    }
}

#[tokio::test]
async fn gpu_time_is_counted_and_a_failed_batch_updates_the_number_of_streams() {
    let server = server_of(FakeNetwork::on_gpu(2), 2, limits()).await;
    let metrics = async || {
        [
            server.metric("resnet_gpu_upload_seconds_total").await,
            server.metric("resnet_gpu_compute_seconds_total").await,
            server.metric("resnet_gpu_memory_bytes").await,
            server.metric("resnet_gpu_streams").await,
        ]
    };
    assert_eq!(server.post(grey(1)).await.status, 200);
    assert_eq!(metrics().await, [1.0, 2.0, 3.0, 2.0]);
    server.network().streams.store(1, Ordering::SeqCst);
    assert_eq!(server.post(grey(14)).await.status, 500);
    assert_eq!(metrics().await, [2.0, 4.0, 3.0, 1.0]);
}

#[tokio::test]
async fn the_page_is_openmetrics_text_and_describes_the_model() {
    let server = server().await;
    let page = server.get("/metrics").await;
    assert!(
        page.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(page.text.ends_with("# EOF\n"));
    for line in [
        r#"resnet_model_info{model="fake",version="1",architecture="mean",device="cpu",dtype="f32",digest="none"} 1"#,
        r#"resnet_model_loads_total{model="fake",result="loaded"} 1"#,
        r#"resnet_model_memory_bytes{model="fake",version="1"} 0"#,
    ] {
        assert!(page.text.contains(line), "no {line} in\n{}", page.text);
    }
}
