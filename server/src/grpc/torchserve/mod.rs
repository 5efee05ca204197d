//! TorchServe's gRPC: `InferenceAPIsService`, and on the admin listener
//! `ManagementAPIsService`.

mod management;
mod predict;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, post};

use super::exchange::exchange;
use super::services::{TORCHSERVE, TORCHSERVE_MANAGEMENT};
use super::unary::{infer, query};
use crate::core::serving::Serving;
use crate::http::problem::{Problem, ProblemType};

/// The methods of `ManagementAPIsService`.
const MANAGEMENT: [&str; 6] = [
    "DescribeModel",
    "ListModels",
    "RegisterModel",
    "ScaleWorker",
    "SetDefault",
    "UnregisterModel",
];

/// The methods of the public listener. Models are not managed there.
pub(super) fn public() -> Router<Arc<Serving>> {
    let path = |method: &str| format!("/{TORCHSERVE}/{method}");
    let routes = Router::new()
        .route(&path("Ping"), post(query::<predict::Ping>))
        .route(&path("Predictions"), post(infer::<predict::Predictions>))
        // An image has one prediction, so the stream has one response.
        .route(
            &path("StreamPredictions"),
            post(infer::<predict::Predictions>),
        )
        .route(
            &path("StreamPredictions2"),
            post(exchange::<predict::StreamPredictions2>),
        );
    MANAGEMENT.iter().fold(routes, |routes, method| {
        routes.route(&management(method), post(refuse))
    })
}

/// The methods of the admin listener.
pub(super) fn admin() -> Router<Arc<Serving>> {
    let methods: [MethodRouter<Arc<Serving>>; 6] = [
        post(query::<management::DescribeModel>),
        post(query::<management::ListModels>),
        post(query::<management::RegisterModel>),
        post(query::<management::ScaleWorker>),
        post(query::<management::SetDefault>),
        post(query::<management::UnregisterModel>),
    ];
    let methods = MANAGEMENT.iter().zip(methods);
    methods.fold(Router::new(), |routes, (method, handler)| {
        routes.route(&management(method), handler)
    })
}

fn management(method: &str) -> String {
    format!("/{TORCHSERVE_MANAGEMENT}/{method}")
}

async fn refuse() -> Problem {
    let detail = "models are not managed on this address; use the one of --admin";
    Problem::new(ProblemType::NotFound, detail)
}
