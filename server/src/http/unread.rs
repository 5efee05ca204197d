//! Responses that clients have not read yet: every one of them counts as memory of
//! bodies, whichever handler has rendered it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::core::admission::ByteShare;
use crate::core::error::Error;

/// Bytes of the largest response that is not counted. Errors have to be sent when no
/// memory is left.
const SMALL: u64 = 4 << 10;

/// Bytes of a response that are handed to the HTTP library at a time. It buffers
/// some, and waits until the client has read them.
const STEP: usize = 16 << 10;

/// The extension of a response whose bytes are counted already, or are part of the
/// program.
#[derive(Clone, Copy)]
pub(super) struct Accounted;

/// The same response, whose bytes are counted in `share` until they have been sent.
///
/// # Errors
/// [`Error::BodyMemory`] if there is no room for them.
pub(super) fn counted(response: Response, mut share: ByteShare) -> Result<Response, Error> {
    if response.body().is_end_stream() {
        return Ok(response);
    }
    let is_accounted = response.extensions().get::<Accounted>().is_some();
    let length = response.body().size_hint().exact();
    match length {
        Some(length) if length > SMALL && !is_accounted => {
            share.grow(usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        _ => {}
    }
    Ok(response.map(|body| {
        Body::new(Unread {
            body,
            rest: Bytes::new(),
            share,
            is_stream: length.is_none() && !is_accounted,
        })
    }))
}

/// The body of a response, in small parts.
struct Unread {
    body: Body,
    /// Of the last frame of the body.
    rest: Bytes,
    share: ByteShare,
    /// Its length is not known beforehand: each frame is counted when it exists.
    is_stream: bool,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            if self.is_stream {
                self.share.shrink_to(0);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
            if self.is_stream {
                let length = self.rest.len();
                self.share.take(length);
            }
        }
        let step = STEP.min(self.rest.len());
        let part = self.rest.split_to(step);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
