//! Responses as TorchServe has them: indented JSON, with headers that keep browsers
//! from storing it.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::problem::Problem;
use crate::torchserve::answer::json;

/// A response with `body` as JSON.
pub(in crate::http) fn printed(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    written(status, json(body))
}

/// A response with this JSON.
pub(in crate::http) fn written(
    status: StatusCode,
    json: serde_json::Result<Vec<u8>>,
) -> Result<Response, Problem> {
    let json = json.map_err(|_| Problem::internal())?;
    let content_type = [(CONTENT_TYPE, "application/json")];
    let mut response = (status, content_type, json).into_response();
    response.headers_mut().extend(cache_headers());
    Ok(response)
}

/// The headers of all responses, which keep browsers from storing them.
pub(super) fn cache_headers() -> Vec<(HeaderName, HeaderValue)> {
    let header = |name, value| (name, HeaderValue::from_static(value));
    vec![
        header(PRAGMA, "no-cache"),
        header(
            CACHE_CONTROL,
            "no-cache; no-store, must-revalidate, private",
        ),
        header(EXPIRES, "Thu, 01 Jan 1970 00:00:00 UTC"),
    ]
}
