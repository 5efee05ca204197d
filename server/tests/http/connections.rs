//! Many connections, slow and half-closed ones: which of them get a response, and
//! which are closed.

use resnet_server::http::listen::Connections;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::support::client::{flat, grey};
use crate::support::listening::{HEALTH, LONG, SHORT, connections, head, listen, read_to_end};
use crate::support::server::{limits, server, server_with, wait_until};

#[tokio::test]
async fn requests_above_the_limit_wait_and_health_checks_do_not() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    server.network().gate.close();
    let image = grey(42);
    let mut first = listening.send(head(image.len()).as_bytes()).await;
    first.write_all(&image).await.unwrap();
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;

    let second_head = head(image.len());
    let mut second = std::pin::pin!(listening.exchange(&second_head, &image));
    assert!(timeout(SHORT, &mut second).await.is_err());
    assert_eq!(server.metric("resnet_images_in_flight").await, 1.0);
    let health = listening.exchange(HEALTH, b"").await;
    assert!(health.starts_with("HTTP/1.1 200 OK"), "{health}");

    server.network().gate.open();
    assert!(read_to_end(&mut first).await.starts_with("HTTP/1.1 200 OK"));
    assert!(second.await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    let mut idle = Vec::new();
    for number in 0..40 {
        // Some have sent half a head.
        let half = if number % 2 == 0 { "" } else { "GET / HT" };
        idle.push(listening.send(half.as_bytes()).await);
    }
    let image = grey(42);
    let response = listening.exchange(&head(image.len()), &image).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert_eq!(read_to_end(&mut idle[0]).await, "", "the oldest was closed");
    let closed = r#"resnet_connections_closed_total{reason="gave_way"}"#;
    assert!(server.metric(closed).await >= 30.0);
    assert!(server.metric("resnet_connections").await <= 9.0);
}

#[tokio::test]
async fn the_connections_of_one_address_are_limited() {
    let server = server().await;
    let limits = Connections {
        per_address: Some(2),
        ..connections(10)
    };
    let listening = listen(&server, limits).await;
    let held = [listening.connect().await, listening.connect().await];
    server.wait_for_metric("resnet_connections", 2.0).await;
    // Its request is on its way when it is turned away.
    let mut third = listening.send(head(1 << 20).as_bytes()).await;
    let _ = third.write_all(&vec![0; 100_000]).await;
    let response = read_to_end(&mut third).await;
    assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    assert!(
        response.contains("127.0.0.1 has 2 open connections"),
        "{response}"
    );
    drop(held);
    server.wait_for_metric("resnet_connections", 0.0).await;
    assert!(
        listening
            .exchange(HEALTH, b"")
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_its_response() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    server.network().gate.close();
    let image = grey(42);
    let chunks = format!("{:x}\r\n", image.len()).into_bytes();
    let chunks = [&chunks[..], &image, b"\r\n0\r\n\r\n"].concat();
    let mut waiting = Vec::new();
    for (length, body) in [
        (format!("content-length: {}", image.len()), &image),
        ("transfer-encoding: chunked".to_owned(), &chunks),
    ] {
        let head = format!("POST /classify HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n");
        let mut stream = listening.send(head.as_bytes()).await;
        stream.write_all(body).await.unwrap();
        stream.shutdown().await.unwrap();
        waiting.push(stream);
    }
    server.wait_for_metric("resnet_images_in_flight", 2.0).await;
    sleep(SHORT).await;
    server.network().gate.open();
    for mut stream in waiting {
        let response = read_to_end(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    }
    // Half a body is not waited for.
    let mut stream = listening.send(head(100).as_bytes()).await;
    stream.shutdown().await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
}

/// A client that has disconnected has also closed its side. Its request keeps its
/// permits only while no other request needs them.
#[tokio::test]
async fn the_permits_of_disconnected_clients_go_to_waiting_requests() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (4, 4);
    let server = server_with(limits, |_| Ok(())).await;
    let listening = listen(&server, connections(50)).await;
    let first = server.occupy_device().await;
    let image = grey(99);
    for _ in 0..3 {
        let mut leaves = listening.send(head(image.len()).as_bytes()).await;
        leaves.write_all(&image).await.unwrap();
    }
    server.wait_for_metric("resnet_images_in_flight", 4.0).await;
    let gone = r#"resnet_requests_total{route="/classify",status="499",protocol="native"}"#;
    assert_eq!(server.metric(gone).await, 0.0);
    sleep(SHORT).await;
    let rest: Vec<_> = (1..=3)
        .map(|value| server.spawn_post(grey(value)))
        .collect();
    server.wait_for_metric(gone, 3.0).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (task, class) in rest.into_iter().zip(1..) {
        assert_eq!(task.await.unwrap().class(), class);
    }
    let classes = server.batches().concat();
    assert!(!classes.contains(&99), "{classes:?}");
}

/// A slow client is refused before it has sent its body, and reads the reason
/// after it has sent all of it.
#[tokio::test]
async fn a_refusal_is_sent_at_once_and_the_rest_is_read() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let length = 40 * limits().max_body;
    let mut stream = listening.send(head(length).as_bytes()).await;
    let mut first = [0; 12];
    timeout(LONG, stream.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    let part = vec![0; 1 << 20];
    for _ in 0..40 {
        stream.write_all(&part).await.unwrap();
    }
    let rest = read_to_end(&mut stream).await;
    assert!(rest.ends_with('}'), "{rest}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let mut limits = limits();
    limits.max_body = 4 << 20;
    let server = server_with(limits, |_| Ok(())).await;
    let limits = Connections {
        write_timeout: SHORT,
        ..connections(10)
    };
    let listening = listen(&server, limits).await;
    let request = b"GET /openapi.yaml HTTP/1.1\r\nhost: a\r\n\r\n".repeat(400);
    let mut stream = listening.connect().await;
    let send = async { while stream.write_all(&request).await.is_ok() {} };
    timeout(LONG, send).await.expect("the connection is closed");
    let unread = r#"resnet_connections_closed_total{reason="unread"}"#;
    server.wait_for_metric(unread, 1.0).await;
}

#[tokio::test]
async fn responses_count_as_memory_of_requests() {
    let mut small = limits();
    (small.max_body, small.body_memory) = (64 << 10, 256 << 10);
    let server = server_with(small, |_| Ok(())).await;
    let form = |images: usize| {
        let mut request = crate::support::client::multipart(&vec![grey(1); images]);
        *request.uri_mut() = "/classify?top_k=256".parse().unwrap();
        request
    };
    assert_eq!(server.send(form(1)).await.status, 200);
    server.send(form(8)).await.assert_problem(429, "overloaded");
    wait_until("the memory to be returned", async || {
        server.serving.admission().bytes().grow(256 << 10).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_half_sent_head_does_not_hold_a_shutdown() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let half = listening.send(b"GET /health/live HTTP/1.1\r\nhost:").await;
    let image = flat(1, 8, 8);
    assert!(
        listening
            .exchange(&head(image.len()), &image)
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
    listening.stop.send(()).unwrap();
    timeout(LONG / 2, listening.sockets).await.unwrap().unwrap();
    drop(half);
}

#[tokio::test]
async fn responses_during_a_shutdown_close_their_connection() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let mut kept = listening.connect().await;
    let image = grey(42);
    let request = [
        head(image.len())
            .replace("connection: close\r\n", "")
            .as_bytes(),
        &image,
    ]
    .concat();
    kept.write_all(&request).await.unwrap();
    let mut start = [0; 15];
    kept.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");

    server.serving.leave();
    listening.stop.send(()).unwrap();
    // The connection is idle, but its next request is on its way.
    sleep(SHORT).await;
    kept.write_all(&request).await.unwrap();
    let rest = read_to_end(&mut kept).await;
    let (_, last) = rest
        .split_once("HTTP/1.1 200 OK")
        .expect("a second response");
    assert!(last.contains("\r\nconnection: close\r\n"), "{last}");
    listening.sockets.await.unwrap();
}
