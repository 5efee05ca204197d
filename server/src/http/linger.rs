//! The end of a connection: after the last response, what the client still sends is
//! thrown away. It can read the response then, instead of finding its connection
//! reset.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::stream::Stream;

/// For so long.
const TIME: Duration = Duration::from_secs(30);

/// While the client does not pause for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// Up to so many bytes.
const BYTES: usize = 64 << 20;

/// Bytes that are read at a time.
const READ: usize = 8 << 10;

/// A connection whose last response has been sent.
pub(super) struct Linger {
    ends: Instant,
    pause: Pin<Box<Sleep>>,
    read: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            ends: Instant::now() + TIME,
            pause: Box::pin(sleep(PAUSE)),
            read: 0,
        }
    }

    /// Reads until the client closes its side, or one of the limits is reached.
    pub(super) async fn end(mut self, stream: &mut Stream) {
        std::future::poll_fn(|context| self.poll(stream, context)).await;
    }

    /// As [`Linger::end`].
    pub(super) fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; READ];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return self.pause.as_mut().poll(context),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) => self.read += buffer.filled().len(),
            }
            let now = Instant::now();
            if self.read > BYTES || now >= self.ends {
                return Poll::Ready(());
            }
            let next = (now + PAUSE).min(self.ends);
            self.pause.as_mut().reset(next);
        }
    }
}
