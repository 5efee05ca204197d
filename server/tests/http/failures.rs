//! Every status other than 200, each produced through the router. The request
//! after it is served.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;

use crate::support::client::{flat, get, grey, multipart, post, stalling};
use crate::support::loader::spec;
use crate::support::network::{CLASSES, FakeNetwork};
use crate::support::server::{MODEL, Server, limits, server, server_of, server_with, wait_until};

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let server = server().await;
    server
        .get("/classifier")
        .await
        .assert_problem(404, "not-found");
    let response = server.get("/classify").await;
    response.assert_problem(405, "method-not-allowed");
    assert_eq!(response.header("allow"), "POST");
    for path in ["/models", "/models/fake/ready", "/health/ready"] {
        let response = server.send(post(path, "")).await;
        response.assert_problem(405, "method-not-allowed");
        assert_eq!(response.header("allow"), "GET,HEAD");
    }
}

#[tokio::test]
async fn invalid_images() {
    let server = server().await;
    server.post("").await.assert_problem(400, "empty-image");
    server
        .post("hello")
        .await
        .assert_problem(415, "unsupported-format");
    let mut broken = flat(1, 64, 64);
    broken.truncate(60);
    server
        .post(broken)
        .await
        .assert_problem(422, "broken-image");
    // 400 x 400 = 160,000 pixels; the limit is 100,000.
    let response = server.post(flat(1, 400, 400)).await;
    response.assert_problem(413, "image-too-large");
    assert!(response.text.contains("100000"), "{}", response.text);
    assert!(server.batches().is_empty());
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn a_body_above_the_limit_with_and_without_a_content_length() {
    let server = server().await;
    let large = vec![0_u8; limits().max_body + 1];
    let mut announced = post("/classify", large.clone());
    announced
        .headers_mut()
        .insert("content-length", large.len().into());
    let chunks = large
        .chunks(1000)
        .map(<[u8]>::to_vec)
        .map(Ok::<_, std::io::Error>);
    let chunks: Vec<_> = chunks.collect();
    let streamed = post(
        "/classify",
        Body::from_stream(futures_util::stream::iter(chunks)),
    );
    for request in [announced, streamed] {
        let response = server.send(request).await;
        response.assert_problem(413, "body-too-large");
        assert!(response.text.contains("1048576 bytes"), "{}", response.text);
    }
    // A body of exactly the limit is read, and then is not an image.
    let exact = vec![0_u8; limits().max_body];
    server
        .post(exact)
        .await
        .assert_problem(415, "unsupported-format");
}

#[tokio::test]
async fn a_stalled_body() {
    let mut limits = limits();
    limits.body_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(())).await;
    let response = server.send(post("/classify", stalling(grey(1)))).await;
    response.assert_problem(408, "body-timeout");
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn an_incomplete_body() {
    let server = server().await;
    let chunks = [Ok("half"), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    server
        .send(post("/classify", body))
        .await
        .assert_problem(400, "malformed-request");
}

#[tokio::test]
async fn more_images_than_max_in_flight() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (3, 3);
    let server = server_with(limits, |_| Ok(())).await;
    let first = server.occupy_device().await;
    let second = server.spawn_post(grey(2));
    server.wait_for_metric("resnet_images_in_flight", 2.0).await;

    // One more image can be admitted, but not two.
    let response = server.send(multipart(&[grey(3), grey(4)])).await;
    response.assert_problem(429, "overloaded");
    assert_eq!(response.header("retry-after"), "1");
    let third = server.spawn_post(grey(3));
    server.wait_for_metric("resnet_images_in_flight", 3.0).await;
    server.post(grey(4)).await.assert_problem(429, "overloaded");

    server.network().gate.open();
    for (task, class) in [(first, 1), (second, 2), (third, 3)] {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
    assert_eq!(server.post(grey(4)).await.class(), 4);
}

#[tokio::test]
async fn more_bytes_than_body_memory() {
    let mut limits = limits();
    limits.body_memory = limits.max_body;
    let (half, limit) = (limits.max_body / 2 + 1, limits.max_body);
    let server = server_with(limits, |_| Ok(())).await;
    // A client sends half of the budget and then stalls.
    let slow = server.spawn(post("/classify", stalling(vec![0; half])));
    wait_until("the bytes to arrive", async || {
        server.serving.admission().bytes().grow(limit).is_err()
    })
    .await;
    let response = server.post(vec![0; half]).await;
    response.assert_problem(429, "overloaded");
    assert_eq!(response.header("retry-after"), "1");
    // A small body still fits. The bytes of the slow client are released when
    // it disconnects.
    assert_eq!(server.post(grey(4)).await.class(), 4);
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    server
        .post(vec![0; half])
        .await
        .assert_problem(415, "unsupported-format");
}

#[tokio::test]
async fn each_byte_of_a_body_in_parts_is_counted() {
    use futures_util::{StreamExt, stream};
    let memory = limits().body_memory;
    let server = server().await;
    let parts = stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![0; 10_000])));
    let body = Body::from_stream(parts.chain(stream::pending()));
    let request = server.spawn(post("/classify", body));
    let fits = |bytes| server.serving.admission().bytes().grow(bytes).is_ok();
    wait_until("200 kB to be counted", async || !fits(memory - 199_999)).await;
    assert!(fits(memory - 250_000), "and room for a quarter more");
    request.abort();
}

/// A client that sends most of its body at once, and then a byte now and then.
fn trickling(first: usize, pause: Duration) -> Body {
    use futures_util::{StreamExt, stream};
    let first = stream::iter([Ok::<_, std::io::Error>(vec![0; first])]);
    let rest = stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((Ok(vec![0]), ()))
    });
    Body::from_stream(first.chain(rest))
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends_sooner_while_the_memory_of_bodies_is_short() {
    let mut limits = limits();
    limits.body_memory = limits.max_body;
    limits.body_timeout = Duration::from_secs(10);
    let server = server_with(limits.clone(), |_| Ok(())).await;
    let took = async |first: usize| {
        let began = tokio::time::Instant::now();
        let body = trickling(first, Duration::from_secs(5));
        let response = server.send(post("/classify", body)).await;
        response.assert_problem(408, "body-timeout");
        began.elapsed().as_secs()
    };
    // 10 s, and a second for each 16 KiB.
    let third = took(limits.max_body / 3).await;
    assert!((30..35).contains(&third), "{third}");
    // 10 s, and a second for each MiB.
    let most = took(limits.max_body * 3 / 4).await;
    assert!((10..13).contains(&most), "{most}");
}

#[tokio::test]
async fn a_network_that_fails_or_panics() {
    let server = server_with(limits(), |classes| match classes {
        [10] => Err(model::Error::Batch("on purpose".into())),
        [11] => panic!("on purpose"),
        _ => Ok(()),
    })
    .await;
    for class in [10, 11] {
        let response = server.post(grey(class)).await;
        response.assert_problem(500, "internal");
        assert!(
            !response.text.contains("on purpose"),
            "the cause must be in the log only"
        );
        assert_eq!(server.post(grey(6)).await.class(), 6);
    }
}

#[tokio::test]
async fn a_network_that_returns_the_wrong_number_of_logits() {
    let network = FakeNetwork::with_corruption(|classes, logits| match classes {
        [10] => logits.truncate(CLASSES - 1),
        [11] => logits.push(0.0),
        [12] => logits.clear(),
        _ => {}
    });
    classes_10_to_12_fail(network).await;
}

#[tokio::test]
async fn a_network_that_returns_logits_that_are_not_finite() {
    let network = FakeNetwork::with_corruption(|classes, logits| {
        let invalid = match classes {
            [10] => f32::NAN,
            [11] => f32::INFINITY,
            [12] => f32::NEG_INFINITY,
            _ => return,
        };
        logits[200] = invalid;
    });
    classes_10_to_12_fail(network).await;
}

/// Images of these classes get an internal error, and the next image its result.
async fn classes_10_to_12_fail(network: FakeNetwork) {
    let server = server_of(network, 2, limits()).await;
    for class in [10, 11, 12] {
        let response = server.post(grey(class)).await;
        response.assert_problem(500, "internal");
        assert_eq!(server.post(grey(6)).await.class(), 6);
    }
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
}

#[tokio::test]
async fn an_image_whose_logits_are_not_finite_fails_alone_in_its_batch() {
    let network = FakeNetwork::with_corruption(|classes, logits| {
        if let Some(index) = classes.iter().position(|&class| class == 13) {
            logits[index * CLASSES] = f32::NAN;
        }
    });
    let server = server_of(network, 2, limits()).await;
    let (first, rest) = server.fill_queue(11..=16).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(11..) {
        let response = task.await.unwrap();
        match class {
            13 => response.assert_problem(500, "internal"),
            _ => assert_eq!(response.class(), class),
        }
    }
}

#[tokio::test]
async fn a_panic_while_decoding() {
    let server = server().await;
    let network = server.network();
    network.panic_on_preprocessing.store(true, Ordering::SeqCst);
    server.post(grey(1)).await.assert_problem(500, "internal");
    network
        .panic_on_preprocessing
        .store(false, Ordering::SeqCst);
    assert_eq!(server.post(grey(6)).await.class(), 6);
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
}

#[tokio::test]
async fn before_the_model_is_loaded() {
    let server = Server::new(limits(), None, 2);
    server.files.write(MODEL, 1, FakeNetwork::new);
    server.files.gate(MODEL).close();
    server.apply(vec![spec(MODEL)]);
    assert_eq!(server.get("/health/live").await.status, 200);
    for request in [
        get("/health/ready"),
        get("/models/fake/ready"),
        post("/classify", grey(1)),
        post("/models/fake/classify", grey(1)),
    ] {
        let response = server.send(request).await;
        response.assert_problem(503, "starting");
        assert_eq!(response.header("retry-after"), "1");
        assert!(response.detail().contains(MODEL), "{}", response.text);
    }
    server.files.gate(MODEL).open();
}

#[tokio::test]
async fn a_request_that_exceeds_its_deadline() {
    let mut limits = limits();
    limits.request_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(())).await;
    server.network().gate.close();
    server
        .post(grey(1))
        .await
        .assert_problem(504, "deadline-exceeded");
    server.network().gate.open();
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn a_lost_device_ends_readiness() {
    let server = server_of(FakeNetwork::on_gpu(1), 2, limits()).await;
    assert_eq!(server.get("/health/ready").await.status, 200);
    let error = "the GPU has fallen off the bus";
    *server.network().device_error.lock().unwrap() = Some(error.into());
    for path in ["/health/ready", "/models/fake/ready"] {
        let response = server.get(path).await;
        response.assert_problem(503, "device-lost");
        assert!(
            !response.text.contains("bus"),
            "the cause must be in the log only"
        );
    }
    server
        .post(grey(1))
        .await
        .assert_problem(503, "device-lost");
    assert_eq!(server.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn work_that_does_not_end_ends_readiness() {
    let mut limits = limits();
    limits.request_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(())).await;
    assert_eq!(server.get("/health/ready").await.status, 200);
    server.network().gate.close();
    server
        .post(grey(1))
        .await
        .assert_problem(504, "deadline-exceeded");
    wait_until("the end of readiness", async || {
        server.get("/health/ready").await.status == 503
    })
    .await;
    let response = server.get("/health/ready").await;
    response.assert_problem(503, "stalled");
    server.network().gate.open();
    wait_until("readiness", async || {
        server.get("/health/ready").await.status == 200
    })
    .await;
}
