//! The socket below the HTTP library. It adds what the library lacks: it
//! rejects line feeds without a carriage return, lets a client close its side
//! and still read the response, gives up on clients that do not read, and
//! gives the library's own errors a body.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::head::{LineScan, Scanned, bad_head, head_too_large};
use super::linger::Linger;
use super::observe::refused;
use super::problem::{Problem, ProblemType};
use super::seat::{CHUNKED, Seat};
use super::stall::Writes;
use super::stream::Stream;
use crate::core::metrics::Metrics;

/// Bytes of a head that are read at a time.
const READ: usize = 8 << 10;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection's socket.
pub(super) struct Socket {
    stream: Stream,
    seat: Arc<Seat>,
    metrics: Arc<Metrics>,
    /// Longest time without progress while a response is sent.
    write_timeout: Duration,
    scan: LineScan,
    /// Bytes that follow the current head.
    ahead: BytesMut,
    /// The client has closed its side.
    ended: bool,
    /// A response of our own, which ends the connection.
    last_words: Option<Vec<u8>>,
    writes: Writes,
}

impl Socket {
    pub(super) fn new(
        stream: Stream,
        seat: Arc<Seat>,
        metrics: Arc<Metrics>,
        write_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            seat,
            writes: Writes::new(write_timeout, Arc::clone(&metrics)),
            metrics,
            write_timeout,
            scan: LineScan::default(),
            ahead: BytesMut::new(),
            ended: false,
            last_words: None,
        }
    }

    /// Whether the client speaks HTTP/2, by its first bytes. They stay to be read.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        self.ahead.reserve(READ);
        loop {
            let length = self.ahead.len().min(PREFACE.len());
            if self.ahead[..length] != PREFACE[..length] {
                return Ok(false);
            }
            if length == PREFACE.len() {
                return Ok(true);
            }
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                self.ended = true;
                return Ok(false);
            }
        }
    }

    /// The connection without the rules of HTTP/1.1.
    pub(super) fn into_http2(self) -> Http2Socket {
        Http2Socket {
            stream: self.stream,
            ahead: self.ahead,
            writes: self.writes,
            linger: None,
        }
    }

    /// Sends the last response, if there is one, and closes the connection once
    /// the client has read it.
    pub(super) async fn close(mut self) {
        if let Some(words) = self.last_words.take() {
            let write = async {
                self.stream.write_all(&words).await?;
                self.stream.flush().await
            };
            let _ = timeout(self.write_timeout, write).await;
        }
        if self.stream.shutdown().await.is_err() || self.ended {
            return;
        }
        Linger::new().end(&mut self.stream).await;
    }

    /// Ends the connection with this problem.
    fn refuse(&mut self, problem: Problem) -> io::Error {
        self.last_words = Some(refused(&self.metrics, &problem));
        ErrorKind::InvalidData.into()
    }

    /// Bytes of the current body, or of one whose end is not known.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        let most = usize::try_from(left).map_or(room, |left| left.min(room));
        let length = if self.ahead.is_empty() {
            let mut target = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut target))?;
            let length = target.filled().len();
            buffer.advance(length);
            self.ended |= length == 0 && most > 0;
            length
        } else {
            let length = most.min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(length));
            length
        };
        if self.ended && left == CHUNKED {
            // The body may be complete: only the library knows.
            return self.hide_end(context);
        }
        self.seat.body_read(length);
        Poll::Ready(Ok(()))
    }

    /// Hides the end of the stream until the response has been sent.
    fn hide_end(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.seat.wake_when_idle(context) {
            self.seat.half_closed.notify_one();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes of a head, but none that follow it, and none during a request.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() && !self.ended {
            self.ahead.resize(READ, 0);
            let mut chunk = ReadBuf::new(&mut self.ahead);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut chunk);
            let length = chunk.filled().len();
            self.ahead.truncate(length);
            ready!(read)?;
            self.ended = length == 0;
        }
        if self.ahead.is_empty() {
            return self.hide_end(context);
        }
        // The next head waits until the response has been sent.
        if self.seat.wake_when_idle(context) {
            return Poll::Pending;
        }
        let most = self.ahead.len().min(buffer.remaining());
        let length = match self.scan.scan(&self.ahead[..most]) {
            Scanned::Inside => most,
            Scanned::End(length) => length,
            Scanned::BareLineFeed => {
                let problem = bad_head("a line of the head ends without a carriage return");
                return Poll::Ready(Err(self.refuse(problem)));
            }
        };
        buffer.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.seat.body_left() {
            0 => self.poll_head(context, buffer),
            left => self.poll_body(context, buffer, left),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Without a request in progress, this is an error of the library's own.
        if self.seat.is_idle()
            && let Some(problem) = library_problem(bytes, &self.scan)
        {
            self.last_words = Some(refused(&self.metrics, &problem));
            return Poll::Ready(Ok(bytes.len()));
        }
        let Self { stream, writes, .. } = &mut *self;
        writes.poll_write(stream, context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, writes, .. } = &mut *self;
        ready!(writes.poll_flush(stream, context))?;
        self.seat.flushed();
        Poll::Ready(Ok(()))
    }

    /// [`Socket::close`] does it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The socket of an HTTP/2 connection.
pub(super) struct Http2Socket {
    stream: Stream,
    /// The first bytes of the connection.
    ahead: BytesMut,
    writes: Writes,
    /// Once the last frame has been sent.
    linger: Option<Linger>,
}

impl AsyncRead for Http2Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, writes, .. } = &mut *self;
        writes.poll_write(stream, context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, writes, .. } = &mut *self;
        writes.poll_flush(stream, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        if linger.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let linger = linger.get_or_insert_with(Linger::new);
        linger.poll(stream, context).map(Ok)
    }
}

/// What a response of the library without a body stands for.
fn library_problem(response: &[u8], scan: &LineScan) -> Option<Problem> {
    let status = response.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let (problem_type, detail) = match status {
        b"400" => return Some(bad_head("the head of the request cannot be parsed")),
        // The library's limit on the URI is above its limit on the head.
        b"414" | b"431" if scan.is_in_request_line() => (
            ProblemType::UriTooLong,
            "the URI of the request is too long; send options in fewer characters, and images in \
             the body",
        ),
        b"431" => return Some(head_too_large()),
        _ => return None,
    };
    Some(Problem::new(problem_type, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_library_are_recognized() {
        let mut scan = LineScan::default();
        scan.scan(b"GET /aaaa");
        let first = library_problem(b"HTTP/1.1 431 Request Header Fields Too Large", &scan);
        assert_eq!(
            first.map(|problem| problem.problem_type),
            Some(ProblemType::UriTooLong)
        );
        scan.scan(b" HTTP/1.1\r\nx: ");
        let status = |line: &str| {
            let problem = library_problem(format!("HTTP/1.1 {line}\r\n").as_bytes(), &scan);
            problem.map(|problem| problem.problem_type.status().as_u16())
        };
        assert_eq!(status("400 Bad Request"), Some(400));
        assert_eq!(status("431 Request Header Fields Too Large"), Some(431));
        assert_eq!(status("100 Continue"), None);
        assert!(library_problem(b"HTTP", &scan).is_none());
    }
}
