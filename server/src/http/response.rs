//! The JSON of a response. The order of its keys and the format of its numbers
//! are part of the contract.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, ProblemBody};
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

/// A response with `body` as JSON.
pub(super) fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
