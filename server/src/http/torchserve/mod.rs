//! The API of TorchServe: predictions and explanations of its image classifier,
//! health, and the management of models on the admin listener.

pub(super) mod error;
pub(crate) mod input;
pub(crate) mod management;
pub(super) mod metrics;
mod openapi;
pub(super) mod predict;
pub(super) mod response;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, options, post, put};

use super::dialect::Dialect;
use super::protocol::{Protocol, Protocols};
use super::sagemaker;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::TorchServe,
    render: error::render,
};

/// The route of most requests with images.
pub(super) const PREDICTIONS: &str = "/predictions/{name}";

/// The routes of the public listener.
pub(super) fn public(protocols: &Protocols) -> Router<Arc<Serving>> {
    let routes = Router::new()
        .route(PREDICTIONS, any(predict::predictions))
        .route("/predictions/{name}/{version}", any(predict::predictions))
        .route("/explanations/{name}", any(predict::explanations))
        .route("/explanations/{name}/{version}", any(predict::explanations))
        .route("/models/{name}/invoke", any(predict::predictions))
        .route("/{name}/predict", any(predict::predictions))
        .route("/", options(openapi::inference))
        .route("/api-description", get(openapi::inference))
        .merge(sagemaker::container());
    match protocols.has(Protocol::TensorFlowServing) {
        // Its routes answer KServe's requests too.
        true => routes,
        false => routes.route("/v1/models/{call}", post(predict::kserve)),
    }
}

/// The routes of the admin listener.
pub(super) fn admin(protocols: &Protocols) -> Router<Arc<Serving>> {
    let described = match protocols.is_named(Protocol::TorchServe) {
        true => Router::new()
            .route("/models", get(management::list))
            .route("/models/{name}", get(management::describe)),
        false => Router::new(),
    };
    described
        .route("/ping", any(sagemaker::ping))
        .route("/", options(openapi::management))
        .route("/models", post(management::register))
        .route(
            "/models/{name}",
            put(management::scale).delete(management::unregister),
        )
        .route(
            "/models/{name}/{version}",
            get(management::describe)
                .put(management::scale)
                .delete(management::unregister),
        )
        .route(
            "/models/{name}/{version}/set-default",
            put(management::set_default),
        )
}
