//! The routes, and what all routes have in common.

use std::any::Any;
use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::access::{self, Access};
use super::dialect::{Dialect, NATIVE};
use super::observe::Observed;
use super::problem::{Problem, ProblemType};
use super::protocol::{Paths, Protocol, Protocols};
use super::{
    admin, classify, deepstack, embed, explain, health, huggingface, models, observe, oip, pages,
    photoprism, roboflow, sagemaker, tfserving, torchserve, vertex,
};
use crate::core::keys::Scope;
use crate::core::serving::Serving;
use crate::grpc;

const CLASSIFY: &str = "/classify";
const EMBED: &str = "/embed";
const EXPLAIN: &str = "/explain";
const MODEL: &str = "/models/{name}";
const VERSION: &str = "/models/{name}/versions/{version}";

/// The routes of a dialect, by listener.
struct Mounted {
    dialect: Dialect,
    public: fn(&Protocols) -> Router<Arc<Serving>>,
    admin: fn(&Protocols) -> Router<Arc<Serving>>,
    /// The routes that most requests with images use.
    images: fn(&Protocols) -> Vec<&'static str>,
}

/// All dialects besides the native API. No two of them have the same method on the
/// same path.
static DIALECTS: [Mounted; 9] = [
    Mounted {
        dialect: oip::OIP,
        public: |_| oip::public(),
        admin: |_| oip::admin(),
        images: |_| vec![oip::INFER],
    },
    Mounted {
        dialect: torchserve::DIALECT,
        public: torchserve::public,
        admin: torchserve::admin,
        images: |_| vec![torchserve::PREDICTIONS],
    },
    Mounted {
        dialect: tfserving::DIALECT,
        public: tfserving::public,
        admin: none,
        images: |_| vec![tfserving::MODELS],
    },
    Mounted {
        dialect: huggingface::DIALECT,
        public: huggingface::public,
        admin: none,
        images: |_| vec!["/"],
    },
    Mounted {
        dialect: sagemaker::DIALECT,
        public: sagemaker::public,
        admin: none,
        images: sagemaker::images,
    },
    Mounted {
        dialect: photoprism::DIALECT,
        public: photoprism::public,
        admin: none,
        images: |_| vec![photoprism::LABELS],
    },
    Mounted {
        dialect: roboflow::DIALECT,
        public: roboflow::public,
        admin: none,
        images: |_| vec![roboflow::CLASSIFY],
    },
    Mounted {
        dialect: deepstack::DIALECT,
        public: deepstack::public,
        admin: none,
        images: |_| vec![deepstack::SCENE],
    },
    Mounted {
        dialect: grpc::DIALECT,
        public: grpc::public,
        admin: grpc::admin,
        images: grpc::images,
    },
];

/// The routes of a dialect on a listener where it has none.
fn none(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
}

/// The routes of the public listener.
pub fn public(serving: Arc<Serving>, protocols: &Protocols) -> Router {
    expect(&serving, protocols);
    let routes = read_only()
        .merge(descriptions())
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
    let scoped = (&serving, Scope::Infer);
    let native = native(routes, scoped);
    let others = mounted(protocols)
        .fold(native, |all, dialect| {
            all.merge(with_layers(
                (dialect.public)(protocols),
                dialect.dialect,
                scoped,
            ))
        })
        .with_state(Arc::clone(&serving));
    let paths = protocols.vertex_paths();
    if !protocols.has(Protocol::VertexAi) || *paths == Paths::default() {
        return others;
    }
    // Its paths are free to choose, and win over all others.
    let routes = with_layers(vertex::public(protocols), vertex::DIALECT, scoped);
    routes.with_state(serving).fallback_service(others)
}

/// The routes of the admin listener.
pub fn admin(serving: Arc<Serving>, protocols: &Protocols) -> Router {
    // Where TorchServe is asked for by its name, its list and its descriptions of
    // models take the place of the native ones, which the public listener has too.
    let described = match protocols.is_named(Protocol::TorchServe) {
        true => Router::new(),
        false => descriptions(),
    };
    let routes = read_only()
        .merge(described)
        .route(&format!("{MODEL}/load"), post(admin::load))
        .route(&format!("{MODEL}/unload"), post(admin::unload))
        .route(&format!("{VERSION}/load"), post(admin::load))
        .route(&format!("{VERSION}/unload"), post(admin::unload));
    let scoped = (&serving, Scope::Admin);
    let native = native(routes, scoped);
    mounted(protocols)
        .fold(native, |all, dialect| {
            all.merge(with_layers(
                (dialect.admin)(protocols),
                dialect.dialect,
                scoped,
            ))
        })
        .with_state(serving)
}

/// Creates the counters of requests with images, so that the first request of each
/// protocol shows as a rate.
fn expect(serving: &Serving, protocols: &Protocols) {
    let native = [CLASSIFY, EMBED, EXPLAIN].map(|route| (NATIVE, route));
    let others = mounted(protocols).flat_map(|mounted| {
        let routes = (mounted.images)(protocols).into_iter();
        routes.map(|route| (mounted.dialect, route))
    });
    let vertex = vertex::predict_path(protocols).filter(|_| protocols.has(Protocol::VertexAi));
    let vertex = vertex.map(|route| (vertex::DIALECT, route));
    for (dialect, route) in native.into_iter().chain(others).chain(vertex) {
        serving
            .metrics()
            .expect(dialect.protocol.name(), route, 200);
    }
}

fn mounted(protocols: &Protocols) -> impl Iterator<Item = &'static Mounted> {
    DIALECTS
        .iter()
        .filter(|mounted| protocols.has(mounted.dialect.protocol))
}

/// The routes of both listeners.
fn read_only() -> Router<Arc<Serving>> {
    Router::new()
        .route(VERSION, get(models::describe))
        .route(&format!("{MODEL}/ready"), get(models::ready))
        .route(&format!("{VERSION}/ready"), get(models::ready))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
}

/// What the models are, by name.
fn descriptions() -> Router<Arc<Serving>> {
    Router::new()
        .route("/models", get(models::list))
        .route(MODEL, get(models::describe))
}

/// The native routes, and what answers paths that are no routes.
fn native(routes: Router<Arc<Serving>>, serving: (&Arc<Serving>, Scope)) -> Router<Arc<Serving>> {
    with_layers(routes.fallback(not_found), NATIVE, serving)
}

fn with_layers(
    routes: Router<Arc<Serving>>,
    dialect: Dialect,
    (serving, scope): (&Arc<Serving>, Scope),
) -> Router<Arc<Serving>> {
    let observed = Observed {
        serving: Arc::clone(serving),
        dialect,
    };
    let access = Access {
        serving: Arc::clone(serving),
        scope,
    };
    routes
        .layer(middleware::from_fn_with_state(access, access::authorize))
        .layer(middleware::from_fn(observe::reject))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(observed, observe::observe))
}

async fn not_found(headers: HeaderMap, uri: Uri) -> Response {
    let path = uri.path();
    if grpc::is_grpc(&headers) {
        return grpc::unknown_method(path);
    }
    let detail =
        format!("there is no route {path}; send images to POST /classify; /docs lists all routes");
    Problem::new(ProblemType::NotFound, detail).into_response()
}

/// A panic of a handler ends its request only; the log has the message.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}
