//! The routes of the admin listener: they load and unload models. They are
//! never mounted on the public listener.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::problem::Problem;
use super::target::Target;
use crate::core::serving::Serving;

/// Loads a model, or one version of it, again: 204 when it serves.
pub(super) async fn load(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<StatusCode, Problem> {
    let name = target.name().unwrap_or_default();
    serving.registry().load(name, target.version()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unloads a model, or one version of it: 204. Requests in flight finish.
pub(super) async fn unload(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<StatusCode, Problem> {
    let name = target.name().unwrap_or_default();
    serving.registry().unload(name, target.version()?)?;
    Ok(StatusCode::NO_CONTENT)
}
