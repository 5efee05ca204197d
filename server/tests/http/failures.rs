//! Every status but 200, each reached through the router, and the request
//! after it unharmed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use server::service::Service;

use crate::support::{
    Fake, flat, grey, limits, multipart, post, send, server, server_of, server_with, stalling,
};

#[tokio::test]
async fn not_found_and_wrong_method() {
    let server = server();
    server
        .get("/classifier")
        .await
        .assert_problem(404, "not-found");
    let answer = server.get("/classify").await;
    answer.assert_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "POST");
    let answer = server.send(post("/model", "")).await;
    answer.assert_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
}

#[tokio::test]
async fn images_at_fault() {
    let server = server();
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
    // 400 x 400 = 160,000 pixels, the limit is 100,000
    let answer = server.post(flat(1, 400, 400)).await;
    answer.assert_problem(413, "image-too-large");
    assert!(answer.text.contains("100000"), "{}", answer.text);
    assert!(server.batches().is_empty());
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn bodies_past_the_limit_announced_or_not() {
    let server = server();
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
        let answer = server.send(request).await;
        answer.assert_problem(413, "body-too-large");
        assert!(answer.text.contains("1048576 bytes"), "{}", answer.text);
    }
    // Exactly the limit is read whole, and then is no image.
    let exact = vec![0_u8; limits().max_body];
    server
        .post(exact)
        .await
        .assert_problem(415, "unsupported-format");
}

#[tokio::test]
async fn a_body_that_stalls() {
    let mut limits = limits();
    limits.body_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(()));
    let answer = server.send(post("/classify", stalling(grey(1)))).await;
    answer.assert_problem(408, "body-timeout");
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let server = server();
    let chunks = [Ok("half"), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    server
        .send(post("/classify", body))
        .await
        .assert_problem(400, "malformed-request");
}

#[tokio::test]
async fn more_images_than_there_is_room_for() {
    let mut limits = limits();
    (limits.queue, limits.max_images) = (3, 3);
    let server = server_with(limits, |_| Ok(()));
    let first = server.occupy_device().await;
    let second = server.spawn_post(grey(2));
    server.until("resnet_images_in_flight", 2.0).await;

    // One place is left: not enough for two images, enough for one.
    let answer = server.send(multipart(&[grey(3), grey(4)])).await;
    answer.assert_problem(429, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    let third = server.spawn_post(grey(3));
    server.until("resnet_images_in_flight", 3.0).await;
    server.post(grey(4)).await.assert_problem(429, "overloaded");

    server.fake.gate.open();
    for (task, class) in [(first, 1), (second, 2), (third, 3)] {
        assert_eq!(task.await.unwrap().class(), class);
    }
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
    assert_eq!(server.post(grey(4)).await.class(), 4);
}

#[tokio::test]
async fn more_bytes_than_there_is_room_for() {
    let mut limits = limits();
    limits.body_memory = limits.max_body;
    let (half, limit) = (limits.max_body / 2 + 1, limits.max_body);
    let server = server_with(limits, |_| Ok(()));
    // A client that has sent half of the budget and goes on holding it.
    let service = Arc::clone(&server.service);
    let slow =
        tokio::spawn(
            async move { send(&service, post("/classify", stalling(vec![0; half]))).await },
        );
    while server.service.admission().bytes().grow(limit).is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = server.post(vec![0; half]).await;
    answer.assert_problem(429, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    // A small one still fits, and the slow client's share returns with it.
    assert_eq!(server.post(grey(4)).await.class(), 4);
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    server
        .post(vec![0; half])
        .await
        .assert_problem(415, "unsupported-format");
}

#[tokio::test]
async fn a_network_that_fails_or_panics_or_answers_nonsense() {
    let server = server_with(limits(), |classes| match classes {
        [10] => Err(model::Error::Batch("no".into())),
        [11] => panic!("on purpose"),
        _ => Ok(()),
    });
    for class in [10, 11] {
        let answer = server.post(grey(class)).await;
        answer.assert_problem(500, "internal");
        assert!(
            !answer.text.contains("on purpose"),
            "the log knows, the client need not"
        );
        assert_eq!(server.post(grey(6)).await.class(), 6);
    }
}

#[tokio::test]
async fn a_panic_while_decoding() {
    let server = server();
    server.fake.panic_on_recipe.store(true, Ordering::SeqCst);
    server.post(grey(1)).await.assert_problem(500, "internal");
    server.fake.panic_on_recipe.store(false, Ordering::SeqCst);
    assert_eq!(server.post(grey(6)).await.class(), 6);
    assert_eq!(server.metric("resnet_images_in_flight").await, 0.0);
}

#[tokio::test]
async fn before_the_model_is_loaded() {
    let service = Arc::new(Service::new(limits()));
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(send(&service, get("/health/live")).await.status, 200);
    for request in [
        get("/health/ready"),
        get("/model"),
        post("/classify", grey(1)),
    ] {
        let answer = send(&service, request).await;
        answer.assert_problem(503, "starting");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn past_the_deadline() {
    let mut limits = limits();
    limits.request_timeout = Duration::from_millis(50);
    let server = server_with(limits, |_| Ok(()));
    server.fake.gate.close();
    server
        .post(grey(1))
        .await
        .assert_problem(504, "deadline-exceeded");
    server.fake.gate.open();
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn a_lost_device_turns_readiness_off() {
    let server = server_of(Fake::on_card(1), 2, limits());
    assert_eq!(server.get("/health/ready").await.status, 200);
    *server.fake.fault.lock().unwrap() = Some("the card fell off the bus".into());
    let answer = server.get("/health/ready").await;
    answer.assert_problem(503, "device-lost");
    assert!(!answer.text.contains("bus"), "the cause is for the log");
    server
        .post(grey(1))
        .await
        .assert_problem(503, "device-lost");
    assert_eq!(server.get("/health/live").await.status, 200);
}
