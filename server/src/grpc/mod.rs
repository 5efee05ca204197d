//! gRPC, on the port of HTTP: the service of the Open Inference Protocol with
//! Triton's methods, health checks and reflection. Each method is a route.

mod frames;
mod health;
mod inference;
mod proto;
mod reflection;
pub(crate) mod status;
mod streams;
mod unary;
mod weight;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::core::serving::Serving;
use crate::http::dialect::Dialect;
use crate::http::problem::{Problem, ProblemType};
use crate::http::protocol::Protocol;

/// The services besides reflection.
const SERVICES: [&str; 2] = ["grpc.health.v1.Health", "inference.GRPCInferenceService"];

/// How errors of gRPC are rendered.
pub(crate) const DIALECT: Dialect = Dialect {
    protocol: Protocol::Grpc,
    render: status::render,
};

/// Whether a request or a response is one of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The response to a call of a service or method that the server lacks.
pub(crate) fn unknown_method(path: &str) -> Response {
    let detail = format!("there is no method {path}; reflection lists all methods");
    let problem = Problem::new(ProblemType::NotFound, detail);
    let rendered = status::render(&problem, "");
    let content_type = (
        CONTENT_TYPE,
        HeaderValue::from_static(rendered.content_type),
    );
    let mut response = rendered.status.into_response();
    response.headers_mut().extend(rendered.headers);
    response.headers_mut().extend([content_type]);
    response
}

/// The methods of the public listener.
pub(crate) fn public() -> Router<Arc<Serving>> {
    both().merge(inference::public())
}

/// The methods of the admin listener.
pub(crate) fn admin() -> Router<Arc<Serving>> {
    both().merge(inference::admin())
}

fn both() -> Router<Arc<Serving>> {
    let health = Router::new()
        .route(
            "/grpc.health.v1.Health/Check",
            post(unary::query::<health::Check>),
        )
        .route("/grpc.health.v1.Health/Watch", post(health::watch));
    health.merge(reflection::routes())
}
