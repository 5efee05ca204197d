//! Writes to a client, and gives up on one that does not read.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use super::stream::Stream;
use crate::core::metrics::Metrics;

/// Bytes a second that a client has to read on average, once it lags behind.
const MIN_RATE: u32 = 16 << 10;

/// The writes of a connection.
pub(super) struct Writes {
    /// Longest time without progress while a response is sent.
    timeout: Duration,
    metrics: Arc<Metrics>,
    stalled: Option<Stalled>,
}

/// A write that waits for the client.
struct Stalled {
    since: Instant,
    written: usize,
    timer: Pin<Box<Sleep>>,
}

impl Writes {
    pub(super) fn new(timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            timeout,
            metrics,
            stalled: None,
        }
    }

    /// Fails when the client has read too little for too long.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(stream).poll_write(context, bytes) {
            Poll::Ready(Ok(length)) => {
                if let Some(stalled) = &mut self.stalled {
                    stalled.written += length;
                }
                Poll::Ready(Ok(length))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stalled(context),
        }
    }

    /// Completes when all bytes have been handed to the operating system: TLS may
    /// hold some. Fails as [`Writes::poll_write`] does.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let flushed = Pin::new(stream).poll_flush(context);
        match flushed {
            Poll::Ready(_) => {
                self.stalled = None;
                flushed
            }
            Poll::Pending => self.poll_stalled(context),
        }
    }

    fn poll_stalled<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let timeout = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Stalled {
            since: Instant::now(),
            written: 0,
            timer: Box::pin(tokio::time::sleep(timeout)),
        });
        let earned = Duration::from_secs(stalled.written as u64) / MIN_RATE;
        stalled
            .timer
            .as_mut()
            .reset(stalled.since + timeout + earned);
        ready!(stalled.timer.as_mut().poll(context));
        self.metrics.connection_closed("unread");
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}
