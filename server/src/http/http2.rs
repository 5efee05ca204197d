//! An HTTP/2 connection: many requests at a time, limits that the library leaves
//! to its users, and an end that loses no request (GOAWAY).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::head;
use super::seat::Seat;
use super::shared::{LAST_REQUEST, Served, Shared};
use super::socket::Http2Socket;

/// Requests of one connection at the same time.
const MAX_STREAMS: u32 = 128;

/// Bytes of request bodies that a client may send before they are read: of one
/// request, and of one connection. The memory of bodies does not count them.
/// Several streams whose bodies are not read yet must not stop the others.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How often a client must respond to a ping, and how long it may take. Responses
/// that never end would otherwise keep a connection whose client has disappeared.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection that gives way may take to close.
const GIVE_WAY: Duration = Duration::from_millis(100);

/// The library with our limits.
pub(super) fn builder(max_head_bytes: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(max_head_bytes)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Serves the requests of a connection until it is closed.
pub(super) async fn serve(socket: Http2Socket, seat: &Arc<Seat>, shared: &Shared) {
    let streams = Arc::<Streams>::default();
    let service = service_fn(|request| begin(request, seat, &streams, shared));
    let connection = shared.http2.serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let mut unread = std::pin::pin!(streams.unread(shared.write_timeout));
    let wait = tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = unread.as_mut() => return count_unread(shared),
        wait = until_end(seat, &streams, shared) => wait,
    };
    // The client learns which of its requests are served. Those are completed.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => log(ended),
        () = unread => count_unread(shared),
        () = seat.idle_for(wait) => {}
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

fn count_unread(shared: &Shared) {
    shared.serving.metrics().connection_closed("unread");
}

/// Completes when the connection should take no more requests. Returns how long a
/// client that does not close it may be idle after that.
async fn until_end(seat: &Seat, streams: &Streams, shared: &Shared) -> Duration {
    let mut is_stopped = shared.stopped.clone();
    tokio::select! {
        () = seat.close.notified() => GIVE_WAY,
        () = seat.idle_for(shared.header_timeout) => LAST_REQUEST,
        () = streams.leaving.notified() => LAST_REQUEST,
        () = async { while is_stopped.changed().await.is_ok() {} } => LAST_REQUEST,
    }
}

fn begin(
    request: Request<Incoming>,
    seat: &Arc<Seat>,
    streams: &Arc<Streams>,
    shared: &Shared,
) -> Served<Answer> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(shared.stopping());
    seat.begin_stream();
    let stream = Stream {
        number: streams.next.fetch_add(1, Ordering::Relaxed),
        streams: Arc::clone(streams),
        seat: Arc::clone(seat),
    };
    let shared = shared.clone();
    Box::pin(async move {
        let checked = head::check_http2(&head);
        let (response, place) = shared.respond(checked, head, body).await;
        if shared.serving.is_leaving() {
            stream.streams.leaving.notify_one();
        }
        stream.wait_for_client();
        Ok(response.map(|body| Answer {
            body,
            stream,
            _place: place,
        }))
    })
}

/// The requests of one connection.
#[derive(Default)]
struct Streams {
    next: AtomicU64,
    /// Responses that wait until the client has room for more, and since when.
    waiting: Mutex<HashMap<u64, Instant>>,
    /// A response was sent although the server shuts down.
    leaving: Notify,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the client has made no room for a response for this time.
    async fn unread(&self, time: Duration) {
        loop {
            let oldest = self.lock().values().min().copied();
            let now = Instant::now();
            let due = oldest.map_or(now + time, |since| since + time);
            if due <= now {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// A request in progress.
struct Stream {
    number: u64,
    streams: Arc<Streams>,
    seat: Arc<Seat>,
}

impl Stream {
    fn wait_for_client(&self) {
        self.streams.lock().insert(self.number, Instant::now());
    }

    fn client_has_room(&self) {
        self.streams.lock().remove(&self.number);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.client_has_room();
        self.seat.end_stream();
    }
}

/// The body of a response. It comes in small parts (`unread.rs`), and the library asks
/// for the next one when the client has room for it.
struct Answer {
    body: Body,
    stream: Stream,
    _place: Option<OwnedSemaphorePermit>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.stream.client_has_room();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && frame.is_data()
        {
            self.stream.wait_for_client();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
