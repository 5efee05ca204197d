//! The JSON of a response. The order of its keys and the format of its numbers
//! are part of the contract.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::problem::{Problem, ProblemBody};
use crate::core::admission::ByteShare;
use crate::core::answer::Answer;

/// The result of one image.
#[derive(Serialize)]
pub struct Classification<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Version of the model.
    pub version: u64,
    /// The request's id.
    pub request_id: &'a str,
    /// Its classes and category.
    #[serde(flatten)]
    pub answer: Answer<'a>,
}

/// One item of the array that a request with several images returns.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Item<'a, R> {
    /// The result of an image.
    Result(R),
    /// Why an image has no result; the other images are unaffected.
    Problem(ProblemBody<'a>),
}

/// The body of a response to a request with images.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Results<'a, R> {
    /// A request with one image returns its result.
    One(R),
    /// A request with several images returns an array.
    Many(Vec<Item<'a, R>>),
}

impl<'a, R> Results<'a, R> {
    /// The body for the result or the problem of each image; an array if `many`.
    ///
    /// # Errors
    /// The problem of the only image.
    pub(super) fn new(
        results: impl IntoIterator<Item = Result<R, &'a Problem>>,
        many: bool,
        request_id: &'a str,
    ) -> Result<Self, Problem> {
        let mut results = results.into_iter();
        if many {
            let items = results.map(|result| match result {
                Ok(result) => Item::Result(result),
                Err(problem) => Item::Problem(problem.body(request_id)),
            });
            return Ok(Self::Many(items.collect()));
        }
        let only = results.next().ok_or_else(Problem::internal)?;
        only.map(Self::One).map_err(Clone::clone)
    }
}

/// A response with `body` as JSON.
pub(super) fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

/// A response with `body` as JSON, whose bytes are counted in `share` until they
/// have been sent.
pub(super) fn counted(body: &impl Serialize, share: ByteShare) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    let content_type = [(CONTENT_TYPE, "application/json")];
    Ok((content_type, counted_bytes(json, share)).into_response())
}

/// A response with these bytes, which are counted in `share` until they have been
/// sent.
pub(super) fn counted_bytes(bytes: Vec<u8>, mut share: ByteShare) -> Response {
    share.shrink_to(bytes.len());
    let body = Counted {
        rest: bytes.into(),
        _share: share,
    };
    Body::new(body).into_response()
}

/// Bytes of a response that are handed to the HTTP library at a time. It buffers
/// some, and waits until the client has read them.
const STEP: usize = 16 << 10;

struct Counted {
    rest: Bytes,
    _share: ByteShare,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let step = STEP.min(self.rest.len());
        let frame = (step > 0).then(|| Ok(Frame::data(self.rest.split_to(step))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
