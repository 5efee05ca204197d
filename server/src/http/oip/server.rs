//! What concerns the whole server: health, metadata, and the extensions that it
//! does not have.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::errors::unsupported;
use crate::core::serving::Serving;
use crate::http::problem::{Problem, ProblemType};
use crate::http::response::json;
use crate::oip::metadata::ServerMetadata;

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

/// The process runs. The body is that of the protocol and of KServe, whose client
/// reads it; Triton's is empty, and its clients read the status only.
pub(super) async fn live() -> Result<Response, Problem> {
    json(&Live { live: true })
}

/// Whether requests can be served, with the status of Triton.
pub(super) async fn ready(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let ready = serving.ready().is_ok();
    let mut response = json(&Ready { ready })?;
    if !ready {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

pub(super) async fn metadata() -> Result<Response, Problem> {
    json(&ServerMetadata::default())
}

/// Shared memory: no region is ever registered.
pub(super) async fn no_regions() -> Result<Response, Problem> {
    json(&[(); 0])
}

/// There is nothing to unregister.
pub(super) async fn unregister() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn register() -> Problem {
    unsupported("shared memory is not supported; send tensors in the request")
}

pub(super) async fn no_tracing() -> Problem {
    off("the server does not support tracing")
}

pub(super) async fn no_logging() -> Problem {
    off("the server does not support dynamic logging")
}

/// The response of a Triton that was built without the extension.
fn off(text: &str) -> Problem {
    Problem::new(ProblemType::NotFound, text).with_status(StatusCode::SERVICE_UNAVAILABLE)
}

pub(super) async fn not_found() -> Problem {
    Problem::new(ProblemType::NotFound, "Not Found")
}
