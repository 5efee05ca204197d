//! What can be tested only on a real socket: slow clients, clients that
//! disconnect, limits on connections and request headers, and shutdown.

use resnet_server::http::listen::Connections;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::grey;
use crate::support::listening::{SHORT, connections, head, listen, read_to_end};
use crate::support::server::{limits, server, server_with};

#[tokio::test]
async fn an_image_over_a_socket() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let image = grey(42);
    let response = listening.exchange(&head(image.len()), &image).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#""index":42,"#), "{response}");
}

#[tokio::test]
async fn incomplete_headers_time_out() {
    let server = server().await;
    let limits = Connections {
        header_timeout: SHORT,
        ..connections(10)
    };
    let listening = listen(&server, limits).await;
    let response = listening
        .exchange("POST /classify HTTP/1.1\r\nhost:", b"")
        .await;
    assert!(!response.contains(" 200 "), "{response}");
    let idle = listening.exchange("", b"").await;
    assert_eq!(idle, "");
}

#[tokio::test]
async fn a_stalled_body_gets_408_and_the_connection_is_closed() {
    let mut limits = limits();
    limits.body_timeout = SHORT;
    let server = server_with(limits, |_| Ok(())).await;
    let listening = listen(&server, connections(10)).await;
    let head = "POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    let response = listening.exchange(head, b"half an image").await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
}

#[tokio::test]
async fn a_rejected_client_can_read_the_response_while_it_sends() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let body = vec![0_u8; 8 * limits().max_body];
    let response = listening.exchange(&head(body.len()), &body).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let head = head(2 * limits().max_body).replace("host: a", "host: a\r\nexpect: 100-continue");
    let response = listening.exchange(&head, b"").await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    let image = grey(42);
    let head = crate::support::listening::head(image.len())
        .replace("host: a", "host: a\r\nexpect: 100-continue");
    let response = listening.exchange(&head, &image).await;
    assert!(
        response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{response}"
    );
}

#[tokio::test]
async fn the_number_and_size_of_headers_are_limited() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let many: String = (0..100).map(|i| format!("x-{i}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(1_000_000));
    for headers in [many, large] {
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        let mut stream = listening.connect().await;
        // The server may close before all of it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn the_image_of_a_closed_connection_is_skipped() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let first = server.occupy_device().await;
    let image = grey(99);
    let mut leaves = listening.connect().await;
    leaves
        .write_all(head(image.len()).as_bytes())
        .await
        .unwrap();
    leaves.write_all(&image).await.unwrap();
    server.wait_for_metric("resnet_queue_depth", 1.0).await;
    drop(leaves);
    let closed = r#"resnet_requests_total{route="/classify",status="499",protocol="native"}"#;
    server.wait_for_metric(closed, 1.0).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_completes_the_others() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let mut idle = listening.connect().await;
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    server.network().gate.close();
    let image = grey(42);
    let mut waits = listening.connect().await;
    waits.write_all(head(image.len()).as_bytes()).await.unwrap();
    waits.write_all(&image).await.unwrap();
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    listening.stop.send(()).unwrap();
    read_to_end(&mut idle).await;
    assert!(
        TcpStream::connect(listening.address).await.is_err(),
        "the listener must be closed"
    );
    assert!(!listening.sockets.is_finished());
    server.network().gate.open();
    assert!(read_to_end(&mut waits).await.starts_with("HTTP/1.1 200 OK"));
    listening.sockets.await.unwrap();
}
