//! Reads the body of a request within three limits: its size, the bytes that
//! all bodies hold together, and the time that a slow client may take.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Problem, ProblemType};
use crate::core::admission::ByteShare;
use crate::core::limits::Limits;

/// Bytes a second that a client has to send on average.
const MIN_RATE: u32 = 16 << 10;

/// The same while more than half of the memory of all bodies is in use, so that
/// slow clients cannot keep it from the others.
const MIN_RATE_PRESSED: u32 = 1 << 20;

/// How often the rate of a body is checked while nothing arrives.
const CHECK: Duration = Duration::from_millis(500);

/// Bytes of the largest body of a request without images: some names and options.
pub(crate) const SMALL_BODY: usize = 64 << 10;

/// The rest of a rejected body is read for this long and up to this size, so
/// that the connection can be used again.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

/// A body that has not been read yet. When it is dropped, the rest of it is read
/// for a moment and thrown away, while the response is sent.
pub(crate) struct IncomingBody {
    /// `None` after its end.
    stream: Option<BodyDataStream>,
    length: Option<usize>,
    /// The client sends nothing before it receives `100 Continue`.
    expects_continue: bool,
}

impl IncomingBody {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            stream: Some(body.into_data_stream()),
            length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            expects_continue: text(header::EXPECT).is_some(),
        }
    }

    /// The whole body, counted in `share`.
    ///
    /// # Errors
    /// 413 above the size limit, 408 when it stalls, 429 when all bodies
    /// together are too large, 400 when the connection breaks.
    pub(crate) async fn read(
        mut self,
        limits: &Limits,
        share: &mut ByteShare,
    ) -> Result<Bytes, Problem> {
        if self.length.is_some_and(|length| length > limits.max_body) {
            return Err(too_large(limits));
        }
        let whole = self.collect(limits, share).await;
        self.expects_continue = false;
        whole
    }

    /// The whole body, as [`IncomingBody::read`], of at most [`SMALL_BODY`] bytes.
    ///
    /// # Errors
    /// As [`IncomingBody::read`].
    pub(crate) async fn read_small(
        self,
        limits: &Limits,
        share: &mut ByteShare,
    ) -> Result<Bytes, Problem> {
        let limits = Limits {
            max_body: limits.max_body.min(SMALL_BODY),
            ..limits.clone()
        };
        self.read(&limits, share).await
    }

    /// Bytes are counted in `share` when they arrive, and room for a quarter
    /// more. A length that was only announced counts nothing.
    async fn collect(&mut self, limits: &Limits, share: &mut ByteShare) -> Result<Bytes, Problem> {
        let started = Instant::now();
        let mut whole = Vec::new();
        while let Some(chunk) = self.next(started, whole.len(), limits, share).await? {
            let length = whole.len() + chunk.len();
            if length > limits.max_body {
                return Err(too_large(limits));
            }
            if length > whole.capacity() {
                let most = self.length.unwrap_or(limits.max_body).max(length);
                let capacity = (length + length / 4).min(most);
                share.grow(capacity - whole.capacity())?;
                // Exactly: a buffer that doubles would hold more than is counted.
                whole.reserve_exact(capacity - whole.len());
            }
            whole.extend_from_slice(&chunk);
        }
        self.stream = None;
        Ok(whole.into())
    }

    /// The next bytes of a body of which `length` bytes have arrived.
    async fn next(
        &mut self,
        started: Instant,
        length: usize,
        limits: &Limits,
        share: &ByteShare,
    ) -> Result<Option<Bytes>, Problem> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let pause = limits.body_timeout;
        let last = Instant::now();
        loop {
            let rate = min_rate(share.is_pressed());
            let earned = Duration::from_secs(length as u64) / rate;
            let deadline = (started + pause + earned).min(last + pause);
            let check = deadline.min(Instant::now() + CHECK);
            match timeout_at(check, stream.next()).await {
                Ok(Some(Ok(chunk))) => return Ok(Some(chunk)),
                Ok(Some(Err(error))) => return Err(incomplete(&error)),
                Ok(None) => return Ok(None),
                Err(_) if check < deadline => {}
                Err(_) => return Err(stalled(limits, rate)),
            }
        }
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        if self.expects_continue {
            return;
        }
        let rest = async move {
            let mut read = 0;
            while let Some(Ok(chunk)) = stream.next().await {
                read += chunk.len();
                if read > LINGER_BYTES {
                    break;
                }
            }
        };
        // There is none while the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LINGER, rest));
        }
    }
}

/// Bytes a second that a client has to send on average. `is_pressed` says whether more
/// than half of the memory of all bodies is in use.
pub(crate) fn min_rate(is_pressed: bool) -> u32 {
    match is_pressed {
        true => MIN_RATE_PRESSED,
        false => MIN_RATE,
    }
}

pub(crate) fn too_large(limits: &Limits) -> Problem {
    let limit = limits.max_body;
    Problem::new(
        ProblemType::BodyTooLarge,
        format!("the body is larger than the limit of {limit} bytes; send fewer or smaller images"),
    )
}

fn stalled(limits: &Limits, rate: u32) -> Problem {
    let pause = limits.body_timeout.as_secs_f64();
    Problem::new(
        ProblemType::BodyTimeout,
        format!(
            "the body stalled: no bytes for {pause} s, or fewer than {rate} bytes a second; \
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
