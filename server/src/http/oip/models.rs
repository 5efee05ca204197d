//! What is known about models: metadata, configuration, readiness, statistics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::errors::problem;
use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::request::{self, Deadline};
use crate::core::serving::Serving;
use crate::http::call::{Call, ImageRequest};
use crate::http::problem::Problem;
use crate::http::response::json;
use crate::oip::config::ModelConfig;
use crate::oip::failure::Failure;
use crate::oip::metadata::ModelMetadata;
use crate::oip::statistics::{ModelStatistics, of_model, statistics as all};

#[derive(Serialize)]
struct ListBody {
    models: Vec<String>,
}

#[derive(Serialize)]
struct ReadyBody<'a> {
    name: &'a str,
    ready: bool,
}

#[derive(Serialize)]
struct StatisticsBody {
    model_stats: Vec<ModelStatistics>,
}

/// The names of all models, as KServe lists them.
pub(super) async fn list(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let models = serving.registry().list().into_iter();
    json(&ListBody {
        models: models.map(|model| model.name).collect(),
    })
}

/// The instance that a path names. It may have to be loaded.
async fn instance(call: &Call) -> Result<Arc<Instance>, Error> {
    let deadline = Deadline::after(call.serving.limits().request_timeout);
    let (name, version) = (call.target.name(), call.target.version()?);
    request::find(&call.serving, name, version, deadline).await
}

pub(super) async fn metadata(request: ImageRequest) -> Result<Response, Problem> {
    let call = request.call;
    let name = call.target.name().unwrap_or_default();
    let found = async {
        let instance = instance(&call).await?;
        let status = call.serving.registry().status(name)?;
        Ok::<_, Error>(ModelMetadata::new(name, &instance, &status))
    };
    json(&found.await.map_err(|error| failed(&call, error))?)
}

pub(super) async fn config(request: ImageRequest) -> Result<Response, Problem> {
    let call = request.call;
    let name = call.target.name().unwrap_or_default();
    let instance = instance(&call)
        .await
        .map_err(|error| failed(&call, error))?;
    let most = call.serving.limits().max_images;
    json(&ModelConfig::new(name, &instance, most))
}

/// Whether requests for this model can be served now.
pub(super) async fn ready(request: ImageRequest) -> Result<Response, Problem> {
    let call = request.call;
    let name = call.target.name().unwrap_or_default();
    let ready = async {
        let version = call.target.version()?;
        call.serving.registry().model_ready(name, version)
    };
    match ready.await {
        Ok(()) => json(&ReadyBody { name, ready: true }),
        Err(error) => Err(failed(&call, error).with_status(StatusCode::BAD_REQUEST)),
    }
}

/// The statistics of one version, or of all loaded versions of a model.
pub(super) async fn statistics(request: ImageRequest) -> Result<Response, Problem> {
    let call = request.call;
    let name = call.target.name().unwrap_or_default();
    let found = async {
        let version = call.target.version()?;
        of_model(call.serving.registry(), name, version)
    };
    let model_stats = found.await.map_err(|error| failed(&call, error))?;
    json(&StatisticsBody { model_stats })
}

/// The statistics of all loaded versions.
pub(super) async fn all_statistics(
    State(serving): State<Arc<Serving>>,
) -> Result<Response, Problem> {
    let model_stats = all(&serving.registry().list());
    json(&StatisticsBody { model_stats })
}

fn failed(call: &Call, error: Error) -> Problem {
    problem(call, &Failure::Core(error))
}
