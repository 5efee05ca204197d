//! Reads the body of a request within three limits: its size, the bytes that
//! all bodies hold together, and the time that a slow client may take.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Problem, ProblemType};
use crate::core::admission::ByteShare;
use crate::core::limits::Limits;

/// Bytes a second that a client has to send on average.
const MIN_RATE: u32 = 4096;

/// Bytes allocated before any arrived: a client may announce a length and send
/// nothing.
const INITIAL_CAPACITY: usize = 64 * 1024;

/// How long the rest of a rejected body is read, so that the client can read
/// the response instead of finding its connection reset while it sends.
const LINGER: Duration = Duration::from_secs(2);

/// A body that has not been read yet.
pub(super) struct IncomingBody {
    stream: BodyDataStream,
    length: Option<usize>,
    /// The client sends nothing before it receives `100 Continue`.
    expects_continue: bool,
}

impl IncomingBody {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            stream: body.into_data_stream(),
            length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            expects_continue: text(header::EXPECT).is_some(),
        }
    }

    /// The whole body, counted in `share`. After an error the rest of it is read
    /// for a moment and thrown away.
    ///
    /// # Errors
    /// 413 above the size limit, 408 when it stalls, 429 when all bodies
    /// together are too large, 400 when the connection breaks.
    pub(super) async fn read(
        mut self,
        limits: &Limits,
        share: &mut ByteShare,
    ) -> Result<Bytes, Problem> {
        if self.length.is_some_and(|length| length > limits.max_body) {
            self.discard().await;
            return Err(too_large(limits));
        }
        let whole = self.collect(limits, share).await;
        if whole.is_err() {
            self.expects_continue = false;
            self.discard().await;
        }
        whole
    }

    async fn collect(&mut self, limits: &Limits, share: &mut ByteShare) -> Result<Bytes, Problem> {
        let started = Instant::now();
        let mut whole = BytesMut::with_capacity(self.length.unwrap_or(0).min(INITIAL_CAPACITY));
        loop {
            let earned = Duration::from_secs(whole.len() as u64) / MIN_RATE;
            let pause = limits.body_timeout;
            let deadline = (started + pause + earned).min(Instant::now() + pause);
            let chunk = match timeout_at(deadline, self.stream.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(error))) => return Err(incomplete(&error)),
                Err(_) => return Err(stalled(limits)),
            };
            if whole.len() + chunk.len() > limits.max_body {
                return Err(too_large(limits));
            }
            share.grow(chunk.len())?;
            whole.extend_from_slice(&chunk);
        }
    }

    /// Reads the rest of a rejected body for a moment and throws it away.
    pub(super) async fn discard(&mut self) {
        if !self.expects_continue {
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            let _ = timeout(LINGER, rest).await;
        }
    }
}

fn too_large(limits: &Limits) -> Problem {
    let limit = limits.max_body;
    Problem::new(
        ProblemType::BodyTooLarge,
        format!("the body is larger than the limit of {limit} bytes; send fewer or smaller images"),
    )
}

fn stalled(limits: &Limits) -> Problem {
    let pause = limits.body_timeout.as_secs_f64();
    Problem::new(
        ProblemType::BodyTimeout,
        format!(
            "the body stalled: no bytes for {pause} s, or fewer than {MIN_RATE} bytes a second; \
             send the request again without pauses"
        ),
    )
}

fn incomplete(error: &axum::Error) -> Problem {
    Problem::new(
        ProblemType::MalformedRequest,
        format!("the body is incomplete ({error}); send all of it"),
    )
}
