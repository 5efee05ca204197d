//! The queue and the device's worker: who runs with whom, and who does not.

use std::sync::Arc;
use std::time::Duration;

use server::service::Service;

use crate::support::{
    Fake, class, grey, limits, multipart, send, server, server_of, server_on, server_with,
};

#[tokio::test]
async fn what_waits_runs_together_and_at_once() {
    let server = server();
    let (first, rest) = server.fill_queue(2..=6).await;
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(2..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let sizes: Vec<usize> = server.batches().iter().map(Vec::len).collect();
    assert_eq!(
        sizes,
        [1, 5],
        "the first alone, without waiting for company"
    );
}

#[tokio::test]
async fn what_is_decoded_first_joins_the_batch() {
    let server = server_on(1, limits(), |_| Ok(()));
    let classifier = server.service.ready().unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut busy = std::pin::pin!(classifier.on_core(move || held.recv().is_err()));
    let started = tokio::time::timeout(Duration::ZERO, &mut busy).await;
    assert!(started.is_err());
    let tasks: Vec<_> = (1..=5)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.until("resnet_images_in_flight", 5.0).await;
    // The core has five images to decode, and turns to the network after them.
    drop(hold);
    for (task, class) in tasks.into_iter().zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let sizes: Vec<usize> = server.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [5]);
}

#[tokio::test]
async fn a_batch_is_never_larger_than_allowed() {
    let mut limits = limits();
    limits.max_batch = 2;
    let server = server_with(limits, |_| Ok(()));
    let (first, rest) = server.fill_queue(2..=6).await;
    server.fake.gate.open();
    for (task, class) in std::iter::once(first).chain(rest).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let sizes: Vec<usize> = server.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2, 2, 1]);
}

#[tokio::test]
async fn a_client_that_has_gone_is_not_computed() {
    let server = server();
    let first = server.occupy_device().await;
    let stays = server.spawn_post(grey(2));
    server.until("resnet_queue_depth", 1.0).await;
    let leaves = server.spawn_post(grey(3));
    server.until("resnet_queue_depth", 2.0).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    assert_eq!(stays.await.unwrap().class(), 2);
    assert_eq!(server.batches(), [[1], [2]]);
    server.until("resnet_images_in_flight", 0.0).await;
    let gone = r#"resnet_requests_total{route="/classify",status="499"}"#;
    assert_eq!(server.metric(gone).await, 1.0);
}

#[tokio::test]
async fn a_client_that_has_gone_is_not_even_decoded() {
    let server = server();
    // One core holds the forward pass; a decode on the other waits for ever.
    let first = server.occupy_device().await;
    let decoded = "resnet_decode_seconds_count";
    assert_eq!(server.metric(decoded).await, 1.0);
    let classifier = server.service.ready().unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut busy = std::pin::pin!(classifier.on_core(move || held.recv().is_err()));
    let started = tokio::time::timeout(Duration::ZERO, &mut busy).await;
    assert!(started.is_err());

    let leaves = server.spawn_post(grey(3));
    server.until("resnet_images_in_flight", 2.0).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    drop(hold);
    assert!(busy.await.unwrap());
    server.until("resnet_images_in_flight", 1.0).await;
    assert_eq!(server.metric(decoded).await, 1.0);
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
}

#[tokio::test]
async fn an_image_the_network_cannot_bear_fails_alone() {
    let server = server_with(limits(), |classes| {
        assert!(!classes.contains(&13), "on purpose");
        if classes.contains(&14) {
            return Err(model::Error::Batch("on purpose".into()));
        }
        Ok(())
    });
    let (first, rest) = server.fill_queue(11..=16).await;
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(11..) {
        let answer = task.await.unwrap();
        match class {
            13 | 14 => answer.assert_problem(500, "internal"),
            _ => assert_eq!(answer.class(), class),
        }
    }
}

#[tokio::test]
async fn a_batch_whose_device_fails_ends_at_once() {
    let server = server_with(limits(), |classes| match classes.contains(&13) {
        true => Err(model::Error::Device {
            device: "cuda:0".into(),
            reason: "on purpose".into(),
        }),
        false => Ok(()),
    });
    let (first, rest) = server.fill_queue(11..=16).await;
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for task in rest {
        task.await.unwrap().assert_problem(500, "internal");
    }
    // none of them ran a second time, and the next batch is served
    let sizes: Vec<usize> = server.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 6]);
    assert_eq!(server.post(grey(11)).await.class(), 11);
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_bad_image_harms_none_of_its_request() {
    let server = server_with(limits(), |classes| {
        assert!(!classes.contains(&13), "on purpose");
        Ok(())
    });
    let files = [grey(1), grey(13), b"text".to_vec(), Vec::new(), grey(2)];
    let answer = server.send(multipart(&files)).await;
    assert_eq!(answer.status, 200);
    let status = |i: usize| answer.json[i]["status"].as_u64();
    assert_eq!(
        [status(1), status(2), status(3)],
        [Some(500), Some(415), Some(400)]
    );
    assert_eq!([class(&answer.json[0]), class(&answer.json[4])], [1, 2]);
}

/// Hundreds of requests at once, good, broken, poisonous and abandoned ones
/// mixed: every answer is the one its own image deserves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_gets_their_own_answer() {
    let mut limits = limits();
    (limits.queue, limits.max_batch) = (1000, 7);
    let server = server_with(limits, |classes| {
        assert!(classes.iter().all(|class| class % 50 != 49), "on purpose");
        Ok(())
    });
    let tasks: Vec<_> = (0..600_u32)
        .map(|i| {
            let value = (i * 37 % 256) as u8;
            let service: Arc<Service> = Arc::clone(&server.service);
            let request = match i % 3 {
                0 => multipart(&[grey(value), vec![i as u8; 10], grey(!value)]),
                _ => crate::support::post("/classify", grey(value)),
            };
            (
                value,
                i,
                tokio::spawn(async move { send(&service, request).await }),
            )
        })
        .collect();
    let expect = |item: &serde_json::Value, value: u8| {
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
        let answer = task.await.unwrap();
        if i % 3 == 0 {
            expect(&answer.json[0], value);
            assert_eq!(answer.json[1]["status"], 415);
            expect(&answer.json[2], !value);
        } else {
            expect(&answer.json, value);
        }
    }
    server.until("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.metric("resnet_queue_depth").await, 0.0);
    assert!(server.batches().iter().all(|batch| batch.len() <= 7));
}

#[tokio::test]
async fn a_card_with_two_lanes_runs_two_batches_at_a_time() {
    let server = server_of(Fake::on_card(2), 2, limits());
    let first = server.occupy_device().await;
    let second = server.spawn_post(grey(2));
    while server.batches().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.batches(), [[1], [2]], "while the first still runs");
    // both lanes are taken: what comes now waits for company
    let rest: Vec<_> = (3..=5)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.until("resnet_queue_depth", 3.0).await;
    server.fake.gate.open();
    for (task, class) in [first, second].into_iter().chain(rest).zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let images: usize = server.batches().iter().map(Vec::len).sum();
    assert_eq!(images, 5);
}
