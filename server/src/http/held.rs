//! The body of a response, with a value that is dropped when the body has been sent: a
//! place among the requests in progress, or a span.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// A body, and a value that is dropped when the body has been sent or the client has
/// disconnected.
pub(super) struct Held<T> {
    body: Body,
    #[allow(dead_code, reason = "held until dropped")]
    value: T,
}

impl<T> Held<T> {
    pub(super) fn new(body: Body, value: T) -> Self {
        Self { body, value }
    }
}

impl<T: Unpin> HttpBody for Held<T> {
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
