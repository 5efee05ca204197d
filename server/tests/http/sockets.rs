//! What only shows on a real socket: slow clients, clients that leave,
//! limits of connections and heads, and the close.

use std::sync::Arc;
use std::time::Duration;

use server::http::{self, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{Server, grey, limits, server, server_with};

/// A server on a port of its own.
struct Listening {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    sockets: JoinHandle<()>,
}

async fn listen(server: &Server, most: usize, header_timeout: Duration) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let connections = listen::Connections {
        most,
        header_timeout,
    };
    let router = http::router(Arc::clone(&server.service));
    let sockets = tokio::spawn(listen::serve(listener, router, connections, async {
        drop(stopped.await);
    }));
    Listening {
        address,
        stop,
        sockets,
    }
}

impl Listening {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `head` and `body` and reads until the server closes.
    async fn exchange(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn head(length: usize) -> String {
    format!(
        "POST /classify HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_photo_over_a_socket() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
    let photo = grey(42);
    let answer = listening.exchange(&head(photo.len()), &photo).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(r#""index":42,"#), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_let_go() {
    let server = server();
    let listening = listen(&server, 10, SHORT).await;
    let answer = listening
        .exchange("POST /classify HTTP/1.1\r\nhost:", b"")
        .await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let idle = listening.exchange("", b"").await;
    assert_eq!(idle, "");
}

#[tokio::test]
async fn a_body_that_stalls_gets_408_and_the_door() {
    let mut limits = limits();
    limits.body_timeout = SHORT;
    let server = server_with(limits, |_| Ok(()));
    let listening = listen(&server, 10, LONG).await;
    let head = "POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    let answer = listening.exchange(head, b"half a photo").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_refused_client_reads_the_answer_though_it_sends_on() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
    let body = vec![0_u8; 8 * limits().max_body];
    let answer = listening.exchange(&head(body.len()), &body).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
    let head = head(2 * limits().max_body).replace("host: a", "host: a\r\nexpect: 100-continue");
    let answer = listening.exchange(&head, b"").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let photo = grey(42);
    let head = self::head(photo.len()).replace("host: a", "host: a\r\nexpect: 100-continue");
    let answer = listening.exchange(&head, &photo).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
}

#[tokio::test]
async fn heads_have_a_limit() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
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
async fn a_connection_that_closes_is_not_computed() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
    let first = server.occupy_device().await;
    let photo = grey(99);
    let mut leaves = listening.connect().await;
    leaves
        .write_all(head(photo.len()).as_bytes())
        .await
        .unwrap();
    leaves.write_all(&photo).await.unwrap();
    server.until("resnet_queue_depth", 1.0).await;
    drop(leaves);
    let gone = r#"resnet_requests_total{route="/classify",status="499"}"#;
    server.until(gone, 1.0).await;
    server.fake.gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.until("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
}

#[tokio::test]
async fn connections_past_the_limit_wait_for_their_turn() {
    let server = server();
    let listening = listen(&server, 1, LONG).await;
    let first = listening.connect().await;
    let photo = grey(42);
    let head = head(photo.len());
    let mut exchange = std::pin::pin!(listening.exchange(&head, &photo));
    let early = tokio::time::timeout(SHORT, &mut exchange).await;
    assert!(early.is_err(), "the only place is taken");
    drop(first);
    assert!(exchange.await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn closing_sends_the_answers_first() {
    let server = server();
    let listening = listen(&server, 10, LONG).await;
    let mut idle = listening.connect().await;
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    server.fake.gate.close();
    let photo = grey(42);
    let mut waits = listening.connect().await;
    waits.write_all(head(photo.len()).as_bytes()).await.unwrap();
    waits.write_all(&photo).await.unwrap();
    server.until("resnet_images_in_flight", 1.0).await;
    listening.stop.send(()).unwrap();
    read_to_end(&mut idle).await;
    assert!(
        TcpStream::connect(listening.address).await.is_err(),
        "nobody listens any more"
    );
    assert!(!listening.sockets.is_finished());
    server.fake.gate.open();
    assert!(read_to_end(&mut waits).await.starts_with("HTTP/1.1 200 OK"));
    listening.sockets.await.unwrap();
}
