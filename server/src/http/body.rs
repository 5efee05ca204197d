//! The body of a request, taken in with three guards: its size, the bytes all
//! bodies hold together, and the patience owed to a slow client.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::ByteShare;
use crate::config::Limits;
use crate::problem::{Kind, Problem};

/// Bytes a second below which a steady trickle is a stalled client too.
const SLOWEST: u32 = 4096;

/// Bytes made ready before any came; a length that is announced is not yet
/// sent.
const FIRST: usize = 64 * 1024;

/// How long a refused client is listened to, so that it reads the answer
/// instead of finding its connection reset in the middle of sending.
const LINGER: Duration = Duration::from_secs(2);

/// A body that has not been read yet.
pub(super) struct Incoming {
    stream: BodyDataStream,
    length: Option<usize>,
    /// The client sends nothing before it is told to go on.
    waits_for_continue: bool,
}

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            stream: body.into_data_stream(),
            length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            waits_for_continue: text(header::EXPECT).is_some(),
        }
    }

    /// The whole body, counted in `share`. Where that fails the rest of it is
    /// listened to for a moment.
    ///
    /// # Errors
    /// 413 past the limit, 408 when it stalls, 429 when all bodies together
    /// are too many, 400 when it breaks off.
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
            self.waits_for_continue = false;
            self.discard().await;
        }
        whole
    }

    async fn collect(&mut self, limits: &Limits, share: &mut ByteShare) -> Result<Bytes, Problem> {
        let started = Instant::now();
        let mut whole = BytesMut::with_capacity(self.length.unwrap_or(0).min(FIRST));
        loop {
            let earned = Duration::from_secs(whole.len() as u64) / SLOWEST;
            let patience = limits.body_timeout;
            let deadline = (started + patience + earned).min(Instant::now() + patience);
            let chunk = match timeout_at(deadline, self.stream.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(error))) => return Err(broken_off(&error)),
                Err(_) => return Err(stalled(limits)),
            };
            if whole.len() + chunk.len() > limits.max_body {
                return Err(too_large(limits));
            }
            share.grow(chunk.len())?;
            whole.extend_from_slice(&chunk);
        }
    }

    /// Listens to the rest of a body that nobody wants.
    pub(super) async fn discard(&mut self) {
        if !self.waits_for_continue {
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            let _ = timeout(LINGER, rest).await;
        }
    }
}

fn too_large(limits: &Limits) -> Problem {
    let limit = limits.max_body;
    Problem::new(
        Kind::BodyTooLarge,
        format!("the body exceeds the limit of {limit} bytes; send fewer or smaller images"),
    )
}

fn stalled(limits: &Limits) -> Problem {
    let patience = limits.body_timeout.as_secs_f64();
    Problem::new(
        Kind::BodyTimeout,
        format!(
            "the body stalled: no bytes for {patience} s, or fewer than {SLOWEST} a second; \
             send the request again without pausing"
        ),
    )
}

fn broken_off(error: &axum::Error) -> Problem {
    Problem::new(
        Kind::MalformedRequest,
        format!("the body broke off ({error}); send it whole"),
    )
}
