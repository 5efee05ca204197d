//! Health checks for orchestrators, and metrics for Prometheus.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::torchserve::metrics as torchserve;
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

/// All metrics; or those of TorchServe that the query names, as `name[]=...`.
pub(super) async fn metrics(
    State(serving): State<Arc<Serving>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let names = pairs
        .filter(|(key, _)| key == "name[]")
        .map(|(_, name)| name);
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let page = torchserve::page(&serving.metrics().totals, &names, &host);
        return ([(CONTENT_TYPE, torchserve::CONTENT_TYPE)], page).into_response();
    }
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match serving.metrics_page() {
        Ok(page) => ([(CONTENT_TYPE, openmetrics)], page).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}
