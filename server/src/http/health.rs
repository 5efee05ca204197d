//! What orchestrators and monitoring ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::service::Service;

/// The process runs.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// It may be sent photos: the model is loaded and warm, and no shutdown has
/// begun.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    service.ready().map(|_| "ready\n")
}

/// Prometheus' page.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match service.metrics().page() {
        Ok(page) => ([(CONTENT_TYPE, openmetrics)], page).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}
