//! gRPC, on the port of HTTP: the services of the Open Inference Protocol with
//! Triton's methods, of TorchServe and of TensorFlow Serving, health checks and
//! reflection. Each method is a route.

mod exchange;
mod frames;
mod health;
mod inference;
mod proto;
mod reflection;
mod services;
pub(crate) mod status;
mod streams;
mod tfserving;
mod torchserve;
mod unary;
mod weight;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use self::services::Services;
use crate::core::serving::Serving;
use crate::http::dialect::Dialect;
use crate::http::problem::{Problem, ProblemType};
use crate::http::protocol::{Protocol, Protocols};

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

/// The methods of the public listener. The services of TorchServe and of TensorFlow
/// Serving are there where their protocols are mounted too.
pub(crate) fn public(protocols: &Protocols) -> Router<Arc<Serving>> {
    let mut routes = both(&Services::public(protocols)).merge(inference::public());
    if protocols.has(Protocol::TorchServe) {
        routes = routes.merge(torchserve::public());
    }
    if protocols.has(Protocol::TensorFlowServing) {
        routes = routes.merge(tfserving::public());
    }
    routes
}

/// The methods of most requests with images, as routes.
pub(crate) fn images(protocols: &Protocols) -> Vec<&'static str> {
    let mut routes = vec!["/inference.GRPCInferenceService/ModelInfer"];
    if protocols.has(Protocol::TorchServe) {
        routes.push("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions");
    }
    if protocols.has(Protocol::TensorFlowServing) {
        routes.push("/tensorflow.serving.PredictionService/Predict");
    }
    routes
}

/// The methods of the admin listener.
pub(crate) fn admin(protocols: &Protocols) -> Router<Arc<Serving>> {
    let routes = both(&Services::admin(protocols)).merge(inference::admin());
    match protocols.has(Protocol::TorchServe) {
        true => routes.merge(torchserve::admin()),
        false => routes,
    }
}

fn both(services: &Services) -> Router<Arc<Serving>> {
    health::routes(services).merge(reflection::routes(services))
}
