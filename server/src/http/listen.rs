//! The listening sockets: limits on connections and request headers, and how
//! connections are closed at a shutdown.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::join_all;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection;
use super::head::MAX_HEADERS;
use super::http2;
use super::listener::{Accepted, Listener};
use super::observe::refused;
use super::room::{self, Room};
use super::shared::Shared;
use super::stream::Stream;
use crate::core::serving::Serving;

/// Largest size of the request line and headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Longest time between two warnings about the same thing.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(1);

/// Connections above the limit of their address whose bytes are read after the response,
/// and how many bytes.
const TURNED_AWAY: usize = 32;
const TURNED_AWAY_BYTES: u64 = 1 << 20;

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

/// Serves `router` on all listeners, which share the limits, until `stop` completes.
/// Then closes idle connections and waits until the others have sent their responses.
pub async fn serve(
    listeners: Vec<Listener>,
    router: Router,
    connections: Connections,
    serving: Arc<Serving>,
    stop: impl Future<Output = ()>,
) {
    let (stopped, is_stopped) = watch::channel(());
    let shared = shared(router, connections, serving, is_stopped);
    let stop = stop.shared();
    let accept = listeners
        .into_iter()
        .map(|listener| accept_all(listener, &shared, stop.clone()));
    let mut open = join_all(accept).await;
    drop(stopped);
    for open in &mut open {
        while open.join_next().await.is_some() {}
    }
}

fn shared(
    router: Router,
    connections: Connections,
    serving: Arc<Serving>,
    stopped: watch::Receiver<()>,
) -> Shared {
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
    Shared {
        http1,
        http2: http2::builder(MAX_HEAD_BYTES as u32),
        router,
        serving,
        room,
        turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
        header_timeout: connections.header_timeout,
        write_timeout: connections.write_timeout,
        stopped,
    }
}

/// Accepts connections until `stop` completes. Returns those that are open.
async fn accept_all(
    listener: Listener,
    shared: &Shared,
    stop: impl Future<Output = ()>,
) -> JoinSet<()> {
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut warned = None;
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &shared.room, &mut warned) => accepted,
            Some(_) = open.join_next() => continue,
        };
        spawn(accepted, shared, &mut open);
    }
    // Connections that the operating system has accepted are served as well.
    while let Some(Ok(accepted)) = now(listener.accept()).await {
        spawn(accepted, shared, &mut open);
    }
    open
}

/// The output of a future that is ready.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::ZERO, future).await.ok()
}

fn spawn(Accepted { stream, address }: Accepted, shared: &Shared, open: &mut JoinSet<()>) {
    match shared.room.enter(address) {
        Ok(stay) => {
            open.spawn(connection::run(stream, stay, shared.clone()));
        }
        Err(problem) => {
            let response = refused(shared.serving.metrics(), &problem);
            // A handshake would cost more than a connection that is refused is worth.
            if let Some(stream) = stream.plain() {
                let place = Arc::clone(&shared.turned_away).try_acquire_owned().ok();
                open.spawn(turn_away(stream, response, place));
            }
        }
    };
}

/// Writes a response to a connection that is closed after it. If there is a place, what
/// the client sends is read for a moment: it would find its connection reset, and not
/// the response.
async fn turn_away(mut stream: Stream, response: Vec<u8>, place: Option<OwnedSemaphorePermit>) {
    let write = async {
        stream.write_all(&response).await?;
        stream.shutdown().await
    };
    let written = timeout(BETWEEN_WARNINGS, write).await;
    if place.is_some() && matches!(written, Ok(Ok(()))) {
        let mut rest = stream.take(TURNED_AWAY_BYTES);
        let _ = timeout(BETWEEN_WARNINGS, copy(&mut rest, &mut sink())).await;
    }
}

/// The next connection, once there is room for it.
async fn accept(listener: &Listener, room: &Room, warned: &mut Option<Instant>) -> Accepted {
    loop {
        room.wait().await;
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn(&error, warned);
                room.wait_for_a_descriptor().await;
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
