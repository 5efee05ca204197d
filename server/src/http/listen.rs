//! The listening socket: limits on connections and request headers, and how
//! connections are closed at a shutdown.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection;
use super::head::MAX_HEADERS;
use super::http2;
use super::observe::refused;
use super::room::{self, Room};
use super::shared::Shared;
use crate::core::serving::Serving;

/// Largest size of the request line and headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Pause after a connection could not be accepted, for example because no file
/// descriptors are left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Longest time between two warnings about the same thing.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(1);

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Connections with a request in progress at the same time; further
    /// requests wait. There may be some more idle connections.
    pub most: usize,
    /// Open connections of one address.
    pub per_address: Option<usize>,
    /// Longest wait for the headers of a request, on a new or an idle connection.
    pub header_timeout: Duration,
    /// Longest time without progress while a client reads a response.
    pub write_timeout: Duration,
}

impl Connections {
    /// File descriptors of all connections, at most.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.most + room::spare(self.most)
    }
}

/// Serves `router` until `stop` completes, then closes idle connections and
/// waits until the others have sent their responses.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    serving: Arc<Serving>,
    stop: impl Future<Output = ()>,
) {
    let (stopped, is_stopped) = watch::channel(());
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(connections.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    let room = Room::new(
        connections.most,
        connections.per_address,
        connections.header_timeout,
        Arc::clone(serving.metrics()),
    );
    let shared = Shared {
        http1,
        http2: http2::builder(MAX_HEAD_BYTES as u32),
        router,
        serving,
        room,
        header_timeout: connections.header_timeout,
        write_timeout: connections.write_timeout,
        stopped: is_stopped,
    };
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut warned = None;
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &shared.room, &mut warned) => accepted,
            Some(_) = open.join_next() => continue,
        };
        spawn(accepted, &shared, &mut open);
    }
    // Connections that the operating system has accepted are served as well.
    while let Some(Ok(accepted)) = now(listener.accept()).await {
        spawn(accepted, &shared, &mut open);
    }
    drop(listener);
    drop(stopped);
    while open.join_next().await.is_some() {}
}

/// The output of a future that is ready.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::ZERO, future).await.ok()
}

fn spawn((stream, peer): (TcpStream, SocketAddr), shared: &Shared, open: &mut JoinSet<()>) {
    // Responses are small and must not wait for an ACK.
    let _ = stream.set_nodelay(true);
    match shared.room.enter(peer.ip()) {
        Ok(stay) => open.spawn(connection::run(stream, stay, shared.clone())),
        Err(problem) => {
            let response = refused(shared.serving.metrics(), &problem);
            open.spawn(timeout_write(stream, response))
        }
    };
}

/// Writes a response to a connection that is closed after it.
async fn timeout_write(mut stream: TcpStream, response: Vec<u8>) {
    let write = async {
        stream.write_all(&response).await?;
        stream.shutdown().await
    };
    let _ = timeout(BETWEEN_WARNINGS, write).await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Room,
    warned: &mut Option<Instant>,
) -> (TcpStream, SocketAddr) {
    loop {
        room.wait().await;
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn(&error, warned);
                // An idle connection gives its file descriptor back.
                room.close_longest_idle();
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn warn(error: &io::Error, warned: &mut Option<Instant>) {
    if warned.is_none_or(|at| at.elapsed() >= BETWEEN_WARNINGS) {
        tracing::warn!(%error, "cannot accept a connection");
        *warned = Some(Instant::now());
    }
}
