//! One connection: its protocol, its HTTP/1.1 requests, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::held::Held;
use super::listener::Unsecured;
use super::room::Stay;
use super::seat::{CHUNKED, Seat};
use super::shared::{LAST_REQUEST, Served, Shared};
use super::socket::Socket;
use super::{head, http2};
use crate::core::serving::Serving;

/// How long a request goes on after the client has closed its side. The client may
/// still read the response, or it may have disconnected.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// Serves the requests of a connection until it is closed.
pub(super) async fn run(stream: Unsecured, stay: Stay, shared: Shared) {
    let seat = Arc::clone(&stay.seat);
    let secured = tokio::select! {
        secured = timeout(shared.header_timeout, stream.secured()) => secured,
        () = seat.close.notified() => return,
        () = stopped(&seat, shared.stopped.clone()) => return,
    };
    let stream = match secured {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return,
    };
    let metrics = Arc::clone(shared.serving.metrics());
    let mut socket = Socket::new(stream, Arc::clone(&seat), metrics, shared.write_timeout);
    let first = tokio::select! {
        first = timeout(shared.header_timeout, socket.is_http2()) => first,
        () = seat.close.notified() => return,
        () = stopped(&seat, shared.stopped.clone()) => return,
    };
    match first {
        Ok(Ok(true)) => http2::serve(socket.into_http2(), &seat, &shared).await,
        Ok(Ok(false)) => serve_http1(socket, &seat, &shared).await,
        Ok(Err(_)) => {}
        // No request came.
        Err(_) => close(socket, &seat, &shared).await,
    }
}

async fn serve_http1(socket: Socket, seat: &Arc<Seat>, shared: &Shared) {
    let service = service_fn(|request| begin(request, seat, shared));
    let mut connection = shared.http1.serve_connection(TokioIo::new(socket), service);
    let ended = tokio::select! {
        ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => {
            Some(ended)
        }
        () = seat.close.notified() => None,
        () = disconnected(seat, &shared.serving) => None,
        () = stopped(seat, shared.stopped.clone()) => None,
    };
    // Drops a request in progress.
    let socket = connection.into_parts().io.into_inner();
    let Some(ended) = ended else { return };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
    close(socket, seat, shared).await;
}

/// Closes a connection once the client has read the last response.
async fn close(socket: Socket, seat: &Seat, shared: &Shared) {
    seat.ended();
    tokio::select! {
        () = socket.close() => {}
        () = seat.close.notified() => {}
        () = stopped(seat, shared.stopped.clone()) => {}
    }
}

/// Completes when the client has closed its side and its request has not ended in
/// time, or other requests need its permits.
async fn disconnected(seat: &Seat, serving: &Serving) {
    loop {
        seat.half_closed.notified().await;
        let needed = serving.admission().until_permits_are_needed();
        let _ = timeout(HALF_CLOSED, needed).await;
        if !seat.is_idle() {
            return;
        }
    }
}

/// Completes after the listener has stopped, once the connection is idle.
async fn stopped(seat: &Seat, mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
    seat.idle_for(LAST_REQUEST).await;
}

/// Begins a request. The socket must know the length of its body before it
/// reads on, so this part does not wait.
fn begin(request: Request<Incoming>, seat: &Arc<Seat>, shared: &Shared) -> Served<Answer> {
    let (head, body) = request.into_parts();
    let length = match head.headers.contains_key(header::TRANSFER_ENCODING) {
        true => CHUNKED,
        false => content_length(&head.headers),
    };
    let busy = Busy::begin(seat, length);
    let shared = shared.clone();
    Box::pin(async move {
        let checked = head::check(&head);
        let (mut response, place) = shared.respond(checked, head, body).await;
        if shared.serving.is_leaving() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response.map(|body| Held::new(body, (place, busy))))
    })
}

/// As the HTTP library has checked it.
fn content_length(headers: &header::HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok());
    length
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0)
}

/// A request in progress.
struct Busy(Arc<Seat>);

impl Busy {
    fn begin(seat: &Arc<Seat>, body: u64) -> Self {
        seat.begin(body);
        Self(Arc::clone(seat))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of a response. The connection is busy while it exists.
type Answer = Held<(Option<OwnedSemaphorePermit>, Busy)>;
