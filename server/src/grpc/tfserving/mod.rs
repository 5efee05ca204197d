//! TensorFlow Serving's gRPC: `PredictionService` and `ModelService`.

mod classify;
mod describe;
mod predict;
mod spec;
mod tensor;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use super::services::{TENSORFLOW, TENSORFLOW_MODELS};
use super::unary::{infer, query};
use crate::core::serving::Serving;
use crate::http::problem::{Problem, ProblemType};

/// The methods of the public listener.
pub(super) fn public() -> Router<Arc<Serving>> {
    let predict = |method: &str| format!("/{TENSORFLOW}/{method}");
    let models = |method: &str| format!("/{TENSORFLOW_MODELS}/{method}");
    Router::new()
        .route(&predict("Predict"), post(infer::<predict::Predict>))
        .route(&predict("Classify"), post(infer::<classify::Classify>))
        .route(
            &predict("GetModelMetadata"),
            post(query::<describe::GetModelMetadata>),
        )
        .route(&predict("Regress"), post(no_regressions))
        .route(&predict("MultiInference"), post(no_regressions))
        .route(
            &models("GetModelStatus"),
            post(query::<describe::GetModelStatus>),
        )
        .route(&models("HandleReloadConfigRequest"), post(no_reload))
}

async fn no_regressions() -> Problem {
    let detail = "the models are classifiers; call Predict or Classify";
    Problem::new(ProblemType::NotFound, detail)
}

async fn no_reload() -> Problem {
    let detail = "the configuration cannot be part of a request; change the configuration file \
                  and send SIGHUP";
    Problem::new(ProblemType::NotFound, detail)
}
