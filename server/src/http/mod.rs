//! The routes, and what every route has in common.

mod body;
mod classify;
mod forms;
mod health;
pub mod listen;
mod model;
mod observe;
mod pages;

use std::any::Any;
use std::sync::Arc;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem::{Kind, Problem};
use crate::service::Service;

/// The route that classifies.
pub(crate) const CLASSIFY: &str = "/classify";

/// Every route of the service.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route(CLASSIFY, post(classify::classify))
        .route("/model", get(model::model))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/", get(pages::welcome))
        .route("/docs", get(pages::docs))
        .route("/openapi.yaml", get(pages::openapi))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&service),
            observe::observe,
        ))
        .with_state(service)
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "there is nothing at {}; photos go to POST /classify, and /docs lists every route",
        uri.path()
    );
    Problem::new(Kind::NotFound, detail)
}

/// The `Allow` header is added by the router.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not answer {method}; use a method that the Allow header names",
        uri.path()
    );
    Problem::new(Kind::MethodNotAllowed, detail)
}

/// A handler's panic ends its request; what it said is in the log.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}
