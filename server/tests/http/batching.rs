//! Batching: which images run together, and what happens to a batch that fails.

use std::sync::Arc;
use std::time::Duration;

use resnet_server::core::serving::Serving;
use serde_json::Value;

use crate::support::client::{class, grey, multipart, post, send};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits, server, server_of, server_with, wait_until};

fn batch_sizes(server: &Server) -> Vec<usize> {
    server.batches().iter().map(Vec::len).collect()
}

#[tokio::test]
async fn queued_images_run_as_one_batch_without_a_delay() {
    let server = server().await;
    let (first, rest) = server.fill_queue(2..=6).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(2..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(
        batch_sizes(&server),
        [1, 5],
        "the first image must not wait for others"
    );
}

#[tokio::test]
async fn images_decoded_before_the_batch_starts_join_it() {
    let server = server_of(FakeNetwork::new(), 1, limits()).await;
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut busy = std::pin::pin!(server.serving.run_job(move || held.recv().is_err()));
    let started = tokio::time::timeout(Duration::ZERO, &mut busy).await;
    assert!(started.is_err());
    let tasks: Vec<_> = (1..=5)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.wait_for_metric("resnet_images_in_flight", 5.0).await;
    // The only thread now has five images to decode; the batch runs after them.
    drop(hold);
    for (task, class) in tasks.into_iter().zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(batch_sizes(&server), [5]);
}

#[tokio::test]
async fn a_single_image_goes_before_the_later_images_of_a_large_request() {
    let mut limits = limits();
    limits.max_batch = 2;
    let server = server_of(FakeNetwork::new(), 1, limits).await;
    // The only thread is held in the decoding of the first image.
    server.network().decode_gate.close();
    let large: Vec<_> = (1..=8).map(grey).collect();
    let large = server.spawn(multipart(&large));
    server.wait_for_metric("resnet_images_in_flight", 8.0).await;
    let single = server.spawn_post(grey(99));
    server.wait_for_metric("resnet_images_in_flight", 9.0).await;
    server.network().decode_gate.open();
    assert_eq!(single.await.unwrap().class(), 99);
    let response = large.await.unwrap();
    for (item, expected) in response.json.as_array().unwrap().iter().zip(1..) {
        assert_eq!(class(item), expected);
    }
    let order = server.batches().concat();
    let at = order.iter().position(|class| *class == 99).unwrap();
    assert!(at <= 1, "{order:?}");
}

#[tokio::test]
async fn a_batch_has_at_most_max_batch_images() {
    let mut limits = limits();
    limits.max_batch = 2;
    let server = server_with(limits, |_| Ok(())).await;
    let (first, rest) = server.fill_queue(2..=6).await;
    server.network().gate.open();
    for (task, class) in std::iter::once(first).chain(rest).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(batch_sizes(&server), [1, 2, 2, 1]);
}

#[tokio::test]
async fn the_image_of_a_disconnected_client_is_skipped() {
    let server = server().await;
    let first = server.occupy_device().await;
    let stays = server.spawn_post(grey(2));
    server.wait_for_metric("resnet_queue_depth", 1.0).await;
    let leaves = server.spawn_post(grey(3));
    server.wait_for_metric("resnet_queue_depth", 2.0).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_eq!(server.metric("resnet_images_in_flight").await, 2.0);
    assert_eq!(server.metric("resnet_queue_depth").await, 1.0);
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    assert_eq!(stays.await.unwrap().class(), 2);
    assert_eq!(server.batches(), [[1], [2]]);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    let closed = r#"resnet_requests_total{route="/classify",status="499",protocol="native"}"#;
    assert_eq!(server.metric(closed).await, 1.0);
}

#[tokio::test]
async fn the_image_of_a_disconnected_client_is_not_decoded() {
    let server = server().await;
    // One thread is held in the forward pass, the other one in a job, so the
    // decoding of the next image has to wait.
    let first = server.occupy_device().await;
    let decoded = "resnet_decode_seconds_count";
    assert_eq!(server.model_metric(decoded).await, 1.0);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut busy = std::pin::pin!(server.serving.run_job(move || held.recv().is_err()));
    let started = tokio::time::timeout(Duration::ZERO, &mut busy).await;
    assert!(started.is_err());

    let leaves = server.spawn_post(grey(3));
    server.wait_for_metric("resnet_images_in_flight", 2.0).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    drop(hold);
    assert!(busy.await.unwrap());
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    assert_eq!(server.model_metric(decoded).await, 1.0);
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
}

#[tokio::test]
async fn an_image_that_makes_its_batch_fail_fails_alone() {
    let server = server_with(limits(), |classes| {
        assert!(!classes.contains(&13), "on purpose");
        if classes.contains(&14) {
            return Err(model::Error::Batch("on purpose".into()));
        }
        Ok(())
    })
    .await;
    let (first, rest) = server.fill_queue(11..=16).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(11..) {
        let response = task.await.unwrap();
        match class {
            13 | 14 => response.assert_problem(500, "internal"),
            _ => assert_eq!(response.class(), class),
        }
    }
}

#[tokio::test]
async fn a_device_error_ends_the_whole_batch_at_once() {
    let server = server_with(limits(), |classes| match classes.contains(&13) {
        true => Err(model::Error::Device {
            device: "cuda:0".into(),
            reason: "on purpose".into(),
        }),
        false => Ok(()),
    })
    .await;
    let (first, rest) = server.fill_queue(11..=16).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for task in rest {
        task.await.unwrap().assert_problem(500, "internal");
    }
    assert_eq!(batch_sizes(&server), [1, 6], "no image ran a second time");
    assert_eq!(server.post(grey(11)).await.class(), 11);
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
}

#[tokio::test]
async fn an_invalid_image_does_not_affect_the_others_of_its_request() {
    let server = server_with(limits(), |classes| {
        assert!(!classes.contains(&13), "on purpose");
        Ok(())
    })
    .await;
    let files = [grey(1), grey(13), b"text".to_vec(), Vec::new(), grey(2)];
    let response = server.send(multipart(&files)).await;
    assert_eq!(response.status, 200);
    let status = |i: usize| response.json[i]["status"].as_u64();
    assert_eq!(
        [status(1), status(2), status(3)],
        [Some(500), Some(415), Some(400)]
    );
    assert_eq!([class(&response.json[0]), class(&response.json[4])], [1, 2]);
}

/// Hundreds of concurrent requests with valid and invalid images, images that
/// make the network panic, and clients that disconnect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_gets_the_result_of_its_own_image() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_batch) = (1000, 7);
    let server = server_with(limits, |classes| {
        assert!(classes.iter().all(|class| class % 50 != 49), "on purpose");
        Ok(())
    })
    .await;
    let tasks: Vec<_> = (0..600_u32)
        .map(|i| {
            let value = (i * 37 % 256) as u8;
            let serving: Arc<Serving> = Arc::clone(&server.serving);
            let request = match i % 3 {
                0 => multipart(&[grey(value), vec![i as u8; 10], grey(!value)]),
                _ => post("/classify", grey(value)),
            };
            let task = tokio::spawn(async move { send(&serving, request).await });
            (value, i, task)
        })
        .collect();
    let expect = |item: &Value, value: u8| {
        if value % 50 == 49 {
            assert_eq!(item["status"], 500);
        } else {
            assert_eq!(class(item), u64::from(value));
        }
    };
    for (value, i, task) in tasks {
        if i % 11 == 5 {
            task.abort();
            continue;
        }
        let response = task.await.unwrap();
        if i % 3 == 0 {
            expect(&response.json[0], value);
            assert_eq!(response.json[1]["status"], 415);
            expect(&response.json[2], !value);
        } else {
            expect(&response.json, value);
        }
    }
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.metric("resnet_queue_depth").await, 0.0);
    assert!(server.batches().iter().all(|batch| batch.len() <= 7));
}

#[tokio::test]
async fn a_gpu_with_two_streams_runs_two_batches_at_the_same_time() {
    let server = server_of(FakeNetwork::on_gpu(2), 2, limits()).await;
    let first = server.occupy_device().await;
    let second = server.spawn_post(grey(2));
    let network = server.network();
    wait_until("the second batch", async || network.batch_count() == 2).await;
    assert_eq!(
        server.batches(),
        [[1], [2]],
        "the second batch starts while the first one runs"
    );
    // Both streams are busy: later images wait and form a batch.
    let rest: Vec<_> = (3..=5)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.wait_for_metric("resnet_queue_depth", 3.0).await;
    server.network().gate.open();
    for (task, class) in [first, second].into_iter().chain(rest).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let images: usize = server.batches().iter().map(Vec::len).sum();
    assert_eq!(images, 5);
}
