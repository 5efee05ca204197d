//! What the layers of a router need to know of its dialect: its name, and how it
//! renders errors.
//!
//! To add a dialect, add a folder to `server/src/http/` with a function that returns
//! its routes and a [`Dialect`], and a line to the list in `routes.rs`. A handler
//! takes an `ImageRequest`, calls the steps of `call.rs` (enter, model, read, run)
//! with a parser of its own before the last one, and returns a `Response`, or a
//! [`Problem`] whose detail is in the words of the dialect. It renders no error
//! itself: `observe.rs` calls [`Dialect::render`] for every problem of the router,
//! also for those that the layers find, such as a panic or a wrong method.

use axum::http::{HeaderName, HeaderValue, StatusCode};

use super::problem::Problem;
use super::protocol::Protocol;

/// One API of the server.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// Its name in metrics and in the log.
    pub(crate) protocol: Protocol,
    /// Renders a problem of the request with this id. `Retry-After` is kept.
    pub(crate) render: fn(&Problem, &str) -> ErrorResponse,
}

/// An error in the form of a dialect.
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// More headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl ErrorResponse {
    /// A JSON body.
    pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: serde_json::to_vec(body).unwrap_or_default(),
            headers: Vec::new(),
        }
    }
}

/// The native API.
pub(crate) const NATIVE: Dialect = Dialect {
    protocol: Protocol::Native,
    render: |problem, request_id| ErrorResponse {
        content_type: "application/problem+json",
        ..ErrorResponse::json(problem.problem_type.status(), &problem.body(request_id))
    },
};
