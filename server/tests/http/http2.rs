//! HTTP/2 without TLS on the port of HTTP/1.1: many requests on a connection, its
//! limits, and how it ends.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use resnet_server::http::listen::Connections;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::client::grey;
use crate::support::listening::{HEALTH, LONG, Listening, SHORT, connections, listen, read_to_end};
use crate::support::server::{limits, server, server_with};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client with one connection.
struct Client {
    requests: SendRequest<Body>,
    socket: std::net::TcpStream,
    connection: JoinHandle<hyper::Result<()>>,
}

type Http2 = Connection<TokioIo<TcpStream>, Body, TokioExecutor>;

impl Client {
    async fn new(listening: &Listening) -> Self {
        Self::with(listening, &Builder::new(TokioExecutor::new())).await
    }

    async fn with(listening: &Listening, builder: &Builder<TokioExecutor>) -> Self {
        let stream = listening.connect().await.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let io = TokioIo::new(TcpStream::from_std(stream).unwrap());
        let (requests, connection): (_, Http2) = builder.handshake(io).await.unwrap();
        Self {
            requests,
            socket,
            connection: tokio::spawn(connection),
        }
    }

    fn send(&mut self, request: Request<Body>) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        tokio::spawn(self.requests.send_request(request))
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("http://a{path}"));
        self.send(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
            .unwrap()
    }

    fn classify(&mut self, value: u8) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let request = Request::post("http://a/classify");
        self.send(request.body(grey(value).into()).unwrap())
    }

    /// Waits until the server has closed the connection.
    async fn closed(self) {
        drop(self.requests);
        let closed = timeout(LONG, self.connection).await;
        closed.expect("the connection is closed").unwrap().ok();
    }
}

async fn json(response: Response<Incoming>) -> Value {
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await;
    serde_json::from_slice(&body.unwrap()).unwrap()
}

async fn class(request: JoinHandle<hyper::Result<Response<Incoming>>>) -> Value {
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    json(response).await["predictions"][0]["index"].clone()
}

#[tokio::test]
async fn many_requests_on_one_connection_form_a_batch() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let first = server.occupy_device().await;
    let mut client = Client::new(&listening).await;
    let requests: Vec<_> = (2..=9).map(|value| client.classify(value)).collect();
    server.wait_for_metric("resnet_queue_depth", 8.0).await;
    assert_eq!(server.metric("resnet_connections").await, 1.0);
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    for (request, value) in requests.into_iter().zip(2..) {
        assert_eq!(class(request).await, value);
    }
    assert_eq!(server.batches().len(), 2, "{:?}", server.batches());
    let counted = r#"resnet_requests_total{route="/classify",status="200",protocol="native"}"#;
    assert_eq!(server.metric(counted).await, 9.0);
}

#[tokio::test]
async fn both_versions_are_told_apart_by_their_first_bytes() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let response = listening.exchange(HEALTH, b"").await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    // The start of the preface is not enough.
    for head in [
        "PRI * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nX",
    ] {
        let mut stream = listening.send(head.as_bytes()).await;
        let response = read_to_end(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 4"), "{head}: {response}");
    }
    // It may arrive in parts, each of which the server has read.
    let mut stream = listening.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in PREFACE {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap(); // empty SETTINGS
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the type of the first frame is SETTINGS");
}

#[tokio::test]
async fn responses_have_no_connection_header_even_in_a_shutdown() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let mut client = Client::new(&listening).await;
    server.serving.leave();
    let response = client.get("/health/live").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-request-id"));
    assert!(!response.headers().contains_key("connection"));
    drop(response);
    // GOAWAY: the client sends its next request elsewhere.
    client.closed().await;
}

#[tokio::test]
async fn heads_above_the_limits_get_431() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let mut client = Client::new(&listening).await;
    let mut many = Request::get("http://a/health/live");
    for number in 0..65 {
        many = many.header(format!("x-{number}"), "1");
    }
    let many = client.send(many.body(Body::empty()).unwrap());
    let response = many.await.unwrap().unwrap();
    assert_eq!(response.status(), 431);
    let problem = json(response).await;
    assert_eq!(problem["type"], "/docs#head-too-large");
    let large = Request::get("http://a/health/live").header("x", "y".repeat(100_000));
    let large = client.send(large.body(Body::empty()).unwrap());
    let response = large.await.unwrap();
    assert!(response.is_err() || response.unwrap().status() == 431);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = server().await;
    let limits = Connections {
        header_timeout: SHORT,
        ..connections(20)
    };
    let listening = listen(&server, limits).await;
    let mut client = Client::new(&listening).await;
    assert_eq!(client.get("/health/live").await.status(), StatusCode::OK);
    client.closed().await;
    // One that sends nothing after the preface.
    let mut stream = listening.send(PREFACE).await;
    let mut rest = Vec::new();
    let ended = timeout(LONG, stream.read_to_end(&mut rest)).await;
    ended.expect("the connection is closed").ok();
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    let mut idle = Vec::new();
    for _ in 0..12 {
        let mut client = Client::new(&listening).await;
        assert_eq!(client.get("/health/live").await.status(), StatusCode::OK);
        idle.push(client);
    }
    idle.remove(0).closed().await;
    let mut last = idle.pop().unwrap();
    assert_eq!(class(last.classify(42)).await, 42);
    let closed = r#"resnet_connections_closed_total{reason="gave_way"}"#;
    assert!(server.metric(closed).await >= 3.0);
}

#[tokio::test]
async fn a_request_that_the_client_resets_is_skipped() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let first = server.occupy_device().await;
    let mut client = Client::new(&listening).await;
    let reset = client.classify(99);
    let stays = client.classify(2);
    server.wait_for_metric("resnet_queue_depth", 2.0).await;
    reset.abort();
    let gone = r#"resnet_requests_total{route="/classify",status="499",protocol="native"}"#;
    server.wait_for_metric(gone, 1.0).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    assert_eq!(class(stays).await, 2);
    assert_eq!(server.batches(), [[1], [2]]);
}

#[tokio::test]
async fn the_requests_of_a_closed_connection_are_skipped() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let first = server.occupy_device().await;
    let mut client = Client::new(&listening).await;
    let _requests = [client.classify(98), client.classify(99)];
    server.wait_for_metric("resnet_queue_depth", 2.0).await;
    client.socket.shutdown(std::net::Shutdown::Both).unwrap();
    let gone = r#"resnet_requests_total{route="/classify",status="499",protocol="native"}"#;
    server.wait_for_metric(gone, 2.0).await;
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
}

#[tokio::test]
async fn requests_wait_for_a_place_and_health_checks_do_not() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    server.network().gate.close();
    let mut client = Client::new(&listening).await;
    let first = client.classify(1);
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    let second = client.classify(2);
    assert_eq!(client.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(server.metric("resnet_images_in_flight").await, 1.0);
    // Beyond those that may wait.
    let full: Vec<_> = (3..=10).map(|value| client.classify(value)).collect();
    let mut refused = 0;
    for request in full {
        let waits = timeout(SHORT, request).await;
        refused += usize::from(waits.is_ok_and(|r| r.unwrap().unwrap().status() == 429));
    }
    assert!(refused >= 4, "{refused} were refused");
    server.network().gate.open();
    assert_eq!(class(first).await, 1);
    assert_eq!(class(second).await, 2);
}

#[tokio::test]
async fn a_client_without_room_for_a_response_is_closed() {
    let mut limits = limits();
    limits.request_timeout = Duration::from_secs(60);
    let server = server_with(limits, |_| Ok(())).await;
    let limits = Connections {
        write_timeout: SHORT,
        ..connections(20)
    };
    let listening = listen(&server, limits).await;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(100);
    let mut client = Client::with(&listening, &builder).await;
    let response = client.get("/openapi.yaml").await;
    assert_eq!(response.status(), StatusCode::OK);
    let unread = r#"resnet_connections_closed_total{reason="unread"}"#;
    server.wait_for_metric(unread, 1.0).await;
    client.closed().await;
    drop(response);
}

#[tokio::test]
async fn a_shutdown_completes_the_requests_in_progress() {
    let server = server().await;
    let listening = listen(&server, connections(20)).await;
    let mut idle = Client::new(&listening).await;
    assert_eq!(idle.get("/health/live").await.status(), StatusCode::OK);
    server.network().gate.close();
    let mut client = Client::new(&listening).await;
    let request = client.classify(42);
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    listening.stop.send(()).unwrap();
    idle.closed().await;
    assert!(!listening.sockets.is_finished());
    server.network().gate.open();
    assert_eq!(class(request).await, 42);
    client.closed().await;
    timeout(LONG, listening.sockets).await.unwrap().unwrap();
}

/// Otherwise the operating system resets the connection, and a proxy loses responses
/// that it has not read yet.
#[tokio::test]
async fn a_connection_that_has_ended_reads_on_until_the_client_closes_it() {
    const PING: u8 = 6;
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut stream = listening.send(&[PREFACE, &settings].concat()).await;
    let mut stop = Some(listening.stop);
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, ..] = head;
        let mut body = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut body).await.unwrap();
        // The server asks whether all of its frames have arrived.
        if kind == PING && flags == 0 {
            let acknowledged = [&[0, 0, 8, PING, 1, 0, 0, 0, 0][..], &body].concat();
            stream.write_all(&acknowledged).await.unwrap();
        }
        // The connection is HTTP/2's once a frame has arrived.
        stop.take();
    }
    let window_update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 100];
    for _ in 0..3 {
        stream.write_all(&window_update).await.unwrap();
        tokio::time::sleep(SHORT).await;
    }
    assert!(stream.into_std().unwrap().take_error().unwrap().is_none());
    listening.sockets.await.unwrap();
}
