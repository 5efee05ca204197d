//! The routes, and what all routes have in common.

use std::any::Any;
use std::sync::Arc;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::{Problem, ProblemType};
use super::{admin, classify, embed, explain, health, models, observe, pages};
use crate::core::serving::Serving;

const CLASSIFY: &str = "/classify";
const EMBED: &str = "/embed";
const EXPLAIN: &str = "/explain";
const MODEL: &str = "/models/{name}";
const VERSION: &str = "/models/{name}/versions/{version}";

/// The routes of the public listener.
pub fn public(serving: Arc<Serving>) -> Router {
    // There from the start, so that the first request shows as a rate.
    for route in [CLASSIFY, EMBED, EXPLAIN] {
        serving.metrics().expect(route, 200);
    }
    let routes = read_only()
        .route(CLASSIFY, post(classify::classify))
        .route(&format!("{MODEL}/classify"), post(classify::classify))
        .route(&format!("{VERSION}/classify"), post(classify::classify))
        .route(EMBED, post(embed::embed))
        .route(&format!("{MODEL}{EMBED}"), post(embed::embed))
        .route(&format!("{VERSION}{EMBED}"), post(embed::embed))
        .route(EXPLAIN, post(explain::handle))
        .route(&format!("{MODEL}{EXPLAIN}"), post(explain::handle))
        .route(&format!("{VERSION}{EXPLAIN}"), post(explain::handle))
        .route("/", get(pages::welcome))
        .route("/docs", get(pages::docs))
        .route("/status", get(pages::status))
        .route("/assets/{name}", get(pages::asset))
        .route("/openapi.yaml", get(pages::openapi_yaml))
        .route("/openapi.json", get(pages::openapi_json));
    with_layers(routes, serving)
}

/// The routes of the admin listener.
pub fn admin(serving: Arc<Serving>) -> Router {
    let routes = read_only()
        .route(&format!("{MODEL}/load"), post(admin::load))
        .route(&format!("{MODEL}/unload"), post(admin::unload))
        .route(&format!("{VERSION}/load"), post(admin::load))
        .route(&format!("{VERSION}/unload"), post(admin::unload));
    with_layers(routes, serving)
}

/// The routes of both listeners.
fn read_only() -> Router<Arc<Serving>> {
    Router::new()
        .route("/models", get(models::list))
        .route(MODEL, get(models::describe))
        .route(VERSION, get(models::describe))
        .route(&format!("{MODEL}/ready"), get(models::ready))
        .route(&format!("{VERSION}/ready"), get(models::ready))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
}

fn with_layers(routes: Router<Arc<Serving>>, serving: Arc<Serving>) -> Router {
    let observe = middleware::from_fn_with_state(Arc::clone(&serving), observe::observe);
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(observe::reject))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(observe)
        .with_state(serving)
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "there is no route {}; send images to POST /classify; /docs lists all routes",
        uri.path()
    );
    Problem::new(ProblemType::NotFound, detail)
}

/// The router adds the `Allow` header.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not support {method}; use a method of the Allow header",
        uri.path()
    );
    Problem::new(ProblemType::MethodNotAllowed, detail)
}

/// A panic of a handler ends its request only; the log has the message.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}
