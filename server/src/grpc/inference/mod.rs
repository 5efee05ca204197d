//! `inference.GRPCInferenceService`: the Open Inference Protocol with Triton's
//! methods.

mod describe;
pub(super) mod infer;
mod repository;
mod request;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, post};

use super::exchange::exchange;
use super::services::INFERENCE;
use super::unary::{infer as images, query};
use crate::core::serving::Serving;
use crate::http::problem::{Problem, ProblemType};

/// Triton's methods for extensions that this server does not have.
const UNSUPPORTED: [&str; 4] = [
    "SystemSharedMemoryRegister",
    "CudaSharedMemoryRegister",
    "TraceSetting",
    "LogSettings",
];

/// Triton's methods about regions of shared memory that do nothing where there are
/// none. Clients call them before their first request.
const REGIONS: [&str; 4] = [
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryUnregister",
];

/// The methods of the public listener. Models cannot be loaded there.
pub(super) fn public() -> Router<Arc<Serving>> {
    let routes = both()
        .route(&path("ModelInfer"), post(images::<infer::ModelInfer>))
        .route(
            &path("ModelStreamInfer"),
            post(exchange::<stream::ModelStreamInfer>),
        )
        .route(&path("RepositoryModelLoad"), post(repository::refuse))
        .route(&path("RepositoryModelUnload"), post(repository::refuse));
    let routes = REGIONS.iter().fold(routes, |routes, method| {
        routes.route(&path(method), post(query::<describe::NoRegions>))
    });
    UNSUPPORTED.iter().fold(routes, |routes, method| {
        routes.route(&path(method), post(unsupported))
    })
}

/// The methods of the admin listener.
pub(super) fn admin() -> Router<Arc<Serving>> {
    both()
        .route(
            &path("RepositoryModelLoad"),
            post(query::<repository::Load>),
        )
        .route(
            &path("RepositoryModelUnload"),
            post(query::<repository::Unload>),
        )
}

fn both() -> Router<Arc<Serving>> {
    let methods: [(&str, MethodRouter<Arc<Serving>>); 8] = [
        ("ServerLive", post(query::<describe::ServerLive>)),
        ("ServerReady", post(query::<describe::ServerReady>)),
        ("ServerMetadata", post(query::<describe::ServerMetadata>)),
        ("ModelReady", post(query::<describe::ModelReady>)),
        ("ModelMetadata", post(query::<describe::ModelMetadata>)),
        ("ModelConfig", post(query::<describe::ModelConfig>)),
        ("ModelStatistics", post(query::<describe::ModelStatistics>)),
        ("RepositoryIndex", post(query::<repository::Index>)),
    ];
    let methods = methods.into_iter();
    methods.fold(Router::new(), |routes, (method, handler)| {
        routes.route(&path(method), handler)
    })
}

fn path(method: &str) -> String {
    format!("/{INFERENCE}/{method}")
}

async fn unsupported() -> Problem {
    let detail = "shared memory, tracing and log settings are not supported; send tensors in the \
                  request, and configure the log with --log";
    Problem::new(ProblemType::NotFound, detail)
}
