//! One connection: its requests, and how it ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::head;
use super::observe::{Rejected, is_probe};
use super::room::{Room, Stay};
use super::seat::{CHUNKED, Seat};
use super::socket::Socket;
use crate::core::serving::Serving;

/// How long a request goes on after the client has closed its side. The client may
/// still read the response, or it may have disconnected.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// At a shutdown, a connection is closed once it has been idle for so long: a
/// request may be on its way.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) http: Builder,
    pub(super) router: Router,
    pub(super) serving: Arc<Serving>,
    pub(super) room: Arc<Room>,
    pub(super) write_timeout: Duration,
    /// Closed when the listener stops.
    pub(super) stopped: watch::Receiver<()>,
}

/// Serves the requests of a connection until it is closed.
pub(super) async fn run(stream: TcpStream, stay: Stay, shared: Shared) {
    let seat = Arc::clone(&stay.seat);
    let metrics = Arc::clone(shared.serving.metrics());
    let socket = Socket::new(stream, Arc::clone(&seat), metrics, shared.write_timeout);
    let service = service_fn(|request| begin(request, &seat, &shared));
    let mut connection = shared.http.serve_connection(TokioIo::new(socket), service);
    let ended = tokio::select! {
        ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => {
            Some(ended)
        }
        () = seat.close.notified() => None,
        () = disconnected(&seat, &shared.serving) => None,
        () = stopped(&seat, shared.stopped.clone()) => None,
    };
    // Drops a request in progress.
    let socket = connection.into_parts().io.into_inner();
    let Some(ended) = ended else { return };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
    seat.ended();
    tokio::select! {
        () = socket.close() => {}
        () = seat.close.notified() => {}
        () = stopped(&seat, shared.stopped.clone()) => {}
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
    let began = std::time::Instant::now();
    loop {
        let idle = seat.idle_since().map(|since| since.max(began).elapsed());
        match idle {
            Some(idle) if idle >= LAST_REQUEST => return,
            Some(idle) => sleep(LAST_REQUEST - idle).await,
            None => sleep(LAST_REQUEST / 10).await,
        }
    }
}

type Served =
    Pin<Box<dyn Future<Output = Result<Response<Answer>, std::convert::Infallible>> + Send>>;

/// Begins a request. The socket must know the length of its body before it
/// reads on, so this part does not wait.
fn begin(request: Request<Incoming>, seat: &Arc<Seat>, shared: &Shared) -> Served {
    let (mut head, body) = request.into_parts();
    let length = match head.headers.contains_key(header::TRANSFER_ENCODING) {
        true => CHUNKED,
        false => content_length(&head.headers),
    };
    let busy = Busy::begin(seat, length);
    let shared = shared.clone();
    Box::pin(async move {
        let place = match head::check(&head) {
            Err(problem) => Err(problem),
            Ok(()) if is_probe(head.uri.path()) => Ok(None),
            Ok(()) => shared.room.place().await.map(Some),
        };
        if let Err(problem) = &place {
            head.extensions.insert(Rejected(problem.clone()));
        }
        let request = Request::from_parts(head, Body::new(body));
        let mut response = shared.router.oneshot(request).await?;
        if shared.serving.is_leaving() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response.map(|body| Answer {
            body,
            _place: place.ok().flatten(),
            _busy: busy,
        }))
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
struct Answer {
    body: Body,
    _place: Option<OwnedSemaphorePermit>,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
