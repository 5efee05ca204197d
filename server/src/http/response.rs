//! The JSON of a response. The order of its keys and the format of its numbers
//! are part of the contract.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, ProblemBody};
use super::unread::Accounted;
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
pub(super) fn counted_bytes(bytes: Vec<u8>, share: ByteShare) -> Response {
    let mut response = Body::from(share.hold(bytes)).into_response();
    response.extensions_mut().insert(Accounted);
    response
}
