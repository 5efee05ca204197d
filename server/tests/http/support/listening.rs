//! A server on an unused port, and clients that write bytes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use resnet_server::http::listener::Listener;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::{listen, routes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::server::Server;

pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(100);

/// A server on an unused port.
pub(crate) struct Listening {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) sockets: JoinHandle<()>,
}

/// Limits for tests that are about something else.
pub(crate) fn connections(most: usize) -> listen::Connections {
    listen::Connections {
        most,
        per_address: None,
        header_timeout: LONG,
        write_timeout: LONG,
    }
}

pub(crate) async fn listen(server: &Server, connections: listen::Connections) -> Listening {
    let router = routes::public(Arc::clone(&server.serving), &Protocols::default());
    listen_to(server, router, connections).await
}

/// A server on an unused port that has these routes.
pub(crate) async fn listen_to(
    server: &Server,
    router: Router,
    connections: listen::Connections,
) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, sockets) = serve(server, router, vec![listener.into()], connections);
    Listening {
        address,
        stop,
        sockets,
    }
}

/// Serves these listeners until the sender is used or dropped.
pub(crate) fn serve(
    server: &Server,
    router: Router,
    listeners: Vec<Listener>,
    connections: listen::Connections,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let serving = Arc::clone(&server.serving);
    let stopped = async { drop(stopped.await) };
    let sockets = listen::serve(listeners, router, connections, serving, stopped);
    (stop, tokio::spawn(sockets))
}

impl Listening {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which these bytes have been sent.
    pub(crate) async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Sends `head` and `body` and reads until the server closes.
    pub(crate) async fn exchange(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.send(head.as_bytes()).await;
        stream.write_all(body).await.unwrap();
        read_to_end(&mut stream).await
    }
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8(response).unwrap()
}

/// The head of a request to classify a body of this length, the last of its
/// connection.
pub(crate) fn head(length: usize) -> String {
    format!(
        "POST /classify HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

pub(crate) const HEALTH: &str = "GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
