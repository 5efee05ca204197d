//! The Open Inference Protocol, version 2, over REST, as Triton speaks it.

pub(crate) mod errors;
mod infer;
mod json;
mod models;
mod numbers;
mod repository;
mod request;
mod response;
#[cfg(test)]
mod round_trip;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};

use super::dialect::Dialect;
use super::protocol::Protocol;
use crate::core::serving::Serving;

/// The dialect.
pub(super) const OIP: Dialect = Dialect {
    protocol: Protocol::Oip,
    render: errors::render,
};

const MODEL: &str = "/v2/models/{name}";
const VERSION: &str = "/v2/models/{name}/versions/{version}";
const REPOSITORY: &str = "/v2/repository";

/// The route of most requests with images.
pub(super) const INFER: &str = "/v2/models/{name}/infer";

/// The routes of the public listener. Models cannot be loaded there, as in a Triton
/// that does not allow it.
pub(super) fn public() -> Router<Arc<Serving>> {
    let refuse = || any(repository::refuse);
    let mut routes = read_only();
    for memory in ["/v2/systemsharedmemory", "/v2/cudasharedmemory"] {
        for regions in [memory.to_owned(), format!("{memory}/region/{{region}}")] {
            routes = routes
                .route(&format!("{regions}/status"), get(server::no_regions))
                .route(&format!("{regions}/register"), post(server::register))
                .route(&format!("{regions}/unregister"), post(server::unregister));
        }
    }
    routes
        .route(&format!("{MODEL}/infer"), post(infer::infer))
        .route(&format!("{VERSION}/infer"), post(infer::infer))
        .route("/v2/trace/setting", any(server::no_tracing))
        .route(&format!("{MODEL}/trace/setting"), any(server::no_tracing))
        .route("/v2/logging", any(server::no_logging))
        .route(&format!("{REPOSITORY}/models/{{name}}/load"), refuse())
        .route(&format!("{REPOSITORY}/models/{{name}}/unload"), refuse())
        .route("/v2/{*path}", any(server::not_found))
}

/// The routes of the admin listener.
pub(super) fn admin() -> Router<Arc<Serving>> {
    read_only()
        .route(
            &format!("{REPOSITORY}/models/{{name}}/load"),
            post(repository::load),
        )
        .route(
            &format!("{REPOSITORY}/models/{{name}}/unload"),
            post(repository::unload),
        )
        .route("/v2/{*path}", any(server::not_found))
}

/// The routes of both listeners.
fn read_only() -> Router<Arc<Serving>> {
    let mut routes = Router::new();
    for model in [MODEL, VERSION] {
        routes = routes
            .route(model, get(models::metadata))
            .route(&format!("{model}/ready"), get(models::ready))
            .route(&format!("{model}/config"), get(models::config))
            .route(&format!("{model}/stats"), get(models::statistics));
    }
    routes
        .route("/v2", get(server::metadata))
        .route("/v2/health/live", get(server::live))
        .route("/v2/health/ready", get(server::ready))
        .route("/v2/models", get(models::list))
        .route("/v2/models/stats", get(models::all_statistics))
        .route(&format!("{REPOSITORY}/index"), post(repository::index))
        .route(
            &format!("{REPOSITORY}/{{repository}}/index"),
            post(repository::index),
        )
}
