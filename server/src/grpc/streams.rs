//! Methods with a stream of requests: each message counts as memory of bodies while
//! it arrives, a message that stalls ends the stream, and so does a shutdown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::request::Parts;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::codec::Streaming;

use super::frames::messages;
use super::status::status;
use crate::core::admission::ByteShare;
use crate::core::error::Error;
use crate::core::serving::Serving;
use crate::http::body::min_rate;
use crate::http::problem::Problem;
use crate::http::shared::Stopping;

/// The bytes of the message that is arriving.
#[derive(Clone)]
pub(super) struct Arriving(Arc<Mutex<ByteShare>>);

impl Arriving {
    /// The bytes of the message that has arrived. Those of the next one are counted
    /// anew.
    pub(super) fn take(&self) -> ByteShare {
        let mut share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = share.sibling();
        std::mem::replace(&mut *share, next)
    }

    fn grow(&self, more: usize) -> Result<(), Error> {
        let mut share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        share.grow(more)
    }

    fn is_inside(&self) -> bool {
        let share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        share.held() > 0
    }

    fn is_pressed(&self) -> bool {
        let share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        share.is_pressed()
    }
}

/// The messages of a request with a stream of them.
pub(super) struct Requests {
    pub(super) messages: Streaming<Bytes>,
    pub(super) arriving: Arriving,
    pub(super) stopping: Stopping,
}

impl Requests {
    /// The messages of this request, each of at most `most` bytes, and its head.
    ///
    /// # Errors
    /// A body that is not gRPC.
    pub(super) fn new(
        request: Request,
        serving: &Arc<Serving>,
        most: usize,
    ) -> Result<(Self, Parts), Problem> {
        let (request, arriving, stopping) = bounded(request, serving);
        let (head, body) = request.into_parts();
        let messages = messages(&head.headers, body, most)?;
        let requests = Self {
            messages,
            arriving,
            stopping,
        };
        Ok((requests, head))
    }
}

/// A request with a stream of messages, within the limits.
pub(super) fn bounded(request: Request, serving: &Arc<Serving>) -> (Request, Arriving, Stopping) {
    let stopping = request.extensions().get::<Stopping>().cloned();
    let stopping = stopping.unwrap_or_default();
    let arriving = Arriving(Arc::new(Mutex::new(serving.admission().bytes())));
    let (stops, counts) = (stopping.clone(), arriving.clone());
    let request = request.map(|body| {
        let frames = Frames {
            body: body.into_data_stream(),
            arriving: counts,
            stopping: stops,
            serving: Arc::clone(serving),
            message: None,
        };
        // After a message that is cut off, tonic polls the body once more.
        Body::from_stream(stream::unfold(frames, Frames::step).fuse())
    });
    (request, arriving, stopping)
}

/// The body of a request.
struct Frames {
    body: BodyDataStream,
    arriving: Arriving,
    stopping: Stopping,
    serving: Arc<Serving>,
    /// When the message that is arriving began, and its bytes so far.
    message: Option<(Instant, usize)>,
}

impl Frames {
    async fn step(mut self) -> Option<(Result<Bytes, axum::Error>, Self)> {
        let next = self.next().await?;
        Some((next, self))
    }

    /// Until when the next bytes of a message must arrive: neither a pause nor a low
    /// rate may hold the memory of bodies for long.
    fn deadline(&self, (began, length): (Instant, usize)) -> Instant {
        let pause = self.serving.limits().body_timeout;
        let rate = min_rate(self.arriving.is_pressed());
        let earned = Duration::from_secs(length as u64) / rate;
        (began + pause + earned).min(Instant::now() + pause)
    }

    /// The next bytes; `None` at the end, in a shutdown, and for a client that has been
    /// idle for too long.
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.message = match self.arriving.is_inside() {
            true => self.message.or_else(|| Some((Instant::now(), 0))),
            false => None,
        };
        // A stream takes a place that others need.
        let idle = Instant::now() + self.serving.limits().stream_timeout;
        let deadline = self.message.map(|message| self.deadline(message));
        let next = timeout_at(deadline.unwrap_or(idle), self.body.next());
        let bytes = tokio::select! {
            next = next => match next {
                Ok(bytes) => bytes?,
                Err(_) if deadline.is_none() => return None,
                Err(stalled) => return Some(Err(axum::Error::new(stalled))),
            },
            () = self.stopping.clone().stopped() => return None,
        };
        if let (Some((_, length)), Ok(bytes)) = (&mut self.message, &bytes) {
            *length += bytes.len();
        }
        Some(bytes.and_then(|bytes| {
            self.arriving.grow(bytes.len()).map_err(axum::Error::new)?;
            Ok(bytes)
        }))
    }
}

/// The messages up to the first error, after which their decoder must not be asked again.
pub(super) fn until_error<S, T, E>(messages: S) -> impl Stream<Item = Result<T, E>> + Send
where
    S: Stream<Item = Result<T, E>> + Send + Unpin + 'static,
    T: Send,
    E: Send,
{
    stream::unfold(Some(messages), |messages| async move {
        let mut messages = messages?;
        let next = messages.next().await?;
        let rest = next.is_ok().then_some(messages);
        Some((next, rest))
    })
}

/// The end of a stream of responses: an error if the server stops, so that clients
/// go on elsewhere.
pub(super) async fn ended(stopping: Stopping) -> Option<Result<Bytes, Status>> {
    let draining = || status(&Problem::from(&Error::Draining));
    stopping.is_stopped().then(|| Err(draining()))
}

/// The responses until the deadline of the client, if it has one.
pub(super) fn until<S>(
    limit: Option<Duration>,
    responses: S,
) -> impl Stream<Item = Result<Bytes, Status>> + Send
where
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
{
    let began = Instant::now();
    let responses = Some(Box::pin(responses));
    stream::unfold(responses, move |responses| async move {
        let mut responses = responses?;
        let next = responses.next();
        let next = match limit {
            None => next.await,
            Some(limit) => match timeout_at(began + limit, next).await {
                Ok(next) => next,
                Err(_) => {
                    let seconds = limit.as_secs_f64();
                    let exceeded = Problem::from(&Error::DeadlineExceeded { seconds });
                    return Some((Err(status(&exceeded)), None));
                }
            },
        };
        next.map(|next| (next, Some(responses)))
    })
}
