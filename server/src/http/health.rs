//! Health checks for orchestrators, and metrics for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::core::serving::Serving;

/// The process runs.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// The server can classify images: every model that is loaded at start has been
/// loaded, or has failed, and no shutdown has begun. The body names the models
/// that failed.
pub(super) async fn ready(State(serving): State<Arc<Serving>>) -> Result<String, Problem> {
    let readiness = serving.ready()?;
    let mut text = String::from("ready\n");
    for (model, reason) in readiness.failed {
        text += &format!("model `{model}` failed to load: {reason}\n");
    }
    Ok(text)
}

/// All metrics.
pub(super) async fn metrics(State(serving): State<Arc<Serving>>) -> Response {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match serving.metrics().render() {
        Ok(page) => ([(CONTENT_TYPE, openmetrics)], page).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}
