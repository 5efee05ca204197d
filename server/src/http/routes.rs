//! The routes, and what all routes have in common.

use std::any::Any;
use std::sync::Arc;

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::dialect::{Dialect, NATIVE};
use super::observe::Observed;
use super::problem::{Problem, ProblemType};
use super::protocol::Protocols;
use super::{admin, classify, embed, explain, health, models, observe, oip, pages};
use crate::core::serving::Serving;

const CLASSIFY: &str = "/classify";
const EMBED: &str = "/embed";
const EXPLAIN: &str = "/explain";
const MODEL: &str = "/models/{name}";
const VERSION: &str = "/models/{name}/versions/{version}";

/// The routes of a dialect, by listener.
struct Mounted {
    dialect: Dialect,
    public: fn() -> Router<Arc<Serving>>,
    admin: fn() -> Router<Arc<Serving>>,
}

/// All dialects besides the native API. No two of them have the same method on the
/// same path.
static DIALECTS: [Mounted; 1] = [Mounted {
    dialect: oip::OIP,
    public: oip::public,
    admin: oip::admin,
}];

/// The routes of the public listener.
pub fn public(serving: Arc<Serving>, protocols: &Protocols) -> Router {
    // There from the start, so that the first request shows as a rate.
    for route in [CLASSIFY, EMBED, EXPLAIN] {
        let protocol = NATIVE.protocol.name();
        serving.metrics().expect(protocol, route, 200);
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
    let native = native(routes, &serving);
    mounted(protocols)
        .fold(native, |all, mounted| {
            all.merge(with_layers((mounted.public)(), mounted.dialect, &serving))
        })
        .with_state(serving)
}

/// The routes of the admin listener.
pub fn admin(serving: Arc<Serving>, protocols: &Protocols) -> Router {
    let routes = read_only()
        .route(&format!("{MODEL}/load"), post(admin::load))
        .route(&format!("{MODEL}/unload"), post(admin::unload))
        .route(&format!("{VERSION}/load"), post(admin::load))
        .route(&format!("{VERSION}/unload"), post(admin::unload));
    let native = native(routes, &serving);
    mounted(protocols)
        .fold(native, |all, mounted| {
            all.merge(with_layers((mounted.admin)(), mounted.dialect, &serving))
        })
        .with_state(serving)
}

fn mounted(protocols: &Protocols) -> impl Iterator<Item = &'static Mounted> {
    DIALECTS
        .iter()
        .filter(|mounted| protocols.has(mounted.dialect.protocol))
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

/// The native routes, and what answers paths that are no routes.
fn native(routes: Router<Arc<Serving>>, serving: &Arc<Serving>) -> Router<Arc<Serving>> {
    with_layers(routes.fallback(not_found), NATIVE, serving)
}

fn with_layers(
    routes: Router<Arc<Serving>>,
    dialect: Dialect,
    serving: &Arc<Serving>,
) -> Router<Arc<Serving>> {
    let metrics = Arc::clone(serving.metrics());
    let observed = Observed { metrics, dialect };
    routes
        .layer(middleware::from_fn(observe::reject))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(observed, observe::observe))
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "there is no route {}; send images to POST /classify; /docs lists all routes",
        uri.path()
    );
    Problem::new(ProblemType::NotFound, detail)
}

/// A panic of a handler ends its request only; the log has the message.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}
