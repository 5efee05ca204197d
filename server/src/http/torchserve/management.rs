//! TorchServe's management of models: register, scale, describe, unregister and
//! set the default version.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::printed;
use super::describe::{List, Server};
use super::error::words;
use super::predict::version_of;
use crate::config::name::is_name;
use crate::config::source::{derive_name, model_source};
use crate::core::error::Error;
use crate::core::registry::status::ModelStatus;
use crate::core::serving::Serving;
use crate::http::call::ImageRequest;
use crate::http::problem::Problem;
use crate::http::query::{CheckedQuery, Pairs};
use crate::http::target::Target;

/// Models of a page unless the request says how many, and at most.
const PAGE: usize = 100;

/// `GET /models`.
pub(in crate::http) async fn list(
    State(serving): State<Arc<Serving>>,
    CheckedQuery(query): CheckedQuery<Pairs>,
) -> Result<Response, Problem> {
    let number = |name| value(&query, name).and_then(|text| text.parse().ok());
    let limit = number("limit").unwrap_or(PAGE).min(PAGE);
    let token = number("next_page_token").unwrap_or(0);
    let models = serving.registry().list();
    printed(StatusCode::OK, &List::new(&models, limit, token))
}

/// `GET /models/{name}[/{version}|/all]`.
pub(in crate::http) async fn describe(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let model = status(&serving, &target)?;
    let server = Server {
        limits: serving.limits(),
        in_flight: usize::try_from(serving.metrics().images_in_flight.get()).unwrap_or(0),
    };
    let newest = || model.versions.iter().next_back().map(|v| v.version);
    let wanted = match target.version_text() {
        Some("all") => None,
        Some(_) => Some(version_of(&target)?),
        None => Some(newest()),
    };
    let versions = model.versions.iter();
    let versions = versions.filter(|v| wanted.is_none_or(|wanted| wanted == Some(v.version)));
    let found: Vec<_> = versions.map(|v| server.describe(&model, v)).collect();
    match (found.is_empty(), wanted) {
        (true, Some(Some(version))) => {
            let available = model.versions.iter().map(|v| v.version);
            let error = Error::unknown_version(&model.name, version, available);
            Err(problem(&error))
        }
        _ => printed(StatusCode::OK, &found),
    }
}

/// `POST /models?url=...`: adds a model from a source that `--model` accepts.
pub(super) async fn register(
    CheckedQuery(query): CheckedQuery<Pairs>,
    ImageRequest { call, body }: ImageRequest,
) -> Result<Response, Problem> {
    let (serving, headers) = (&call.serving, &call.headers);
    let mut share = serving.admission().bytes();
    let body = body.read_small(serving.limits(), &mut share).await?;
    let query = parameters(query, headers, &body)?;
    let Some(url) = value(&query, "url") else {
        return Err(Problem::bad_parameter("Parameter url is required."));
    };
    if url.contains("://") {
        return Err(Problem::bad_parameter(
            "url must be a checkpoint file, a folder or a repository of the Hugging Face Hub: \
             archives are not downloaded",
        ));
    }
    let source = model_source(url).map_err(|reason| {
        Problem::bad_parameter(format!("url is `{}`; it {reason}", url.escape_default()))
    })?;
    let name = match value(&query, "model_name") {
        Some(name) => name.to_owned(),
        None => derive_name(url).map_err(Problem::bad_parameter)?,
    };
    let registry = serving.registry();
    if !is_name(&name) {
        return Err(Problem::bad_parameter(
            "model_name must start with a letter or digit, and contain only letters, digits, `.`, \
             `_` and `-`",
        ));
    }
    let batch = value(&query, "batch_size").and_then(|text| text.parse().ok());
    registry
        .add(&name, source, batch.filter(|batch| *batch > 1))
        .map_err(|error| problem(&error))?;
    let workers = count(&query, "initial_workers").unwrap_or(0);
    let registered = format!("Model \"{name}\" Version: 1.0 registered with {workers} initial");
    match (workers, value(&query, "synchronous")) {
        (0, _) => {
            let hint = "workers. Use scale workers API to add workers for the model.";
            accepted(StatusCode::OK, &format!("{registered} {hint}"))
        }
        (_, Some("false")) => accepted(StatusCode::ACCEPTED, "Processing worker updates..."),
        _ => {
            // A model that cannot be loaded is not registered.
            if let Err(error) = registry.load(&name, None).await {
                let _ = registry.remove(&name);
                return Err(problem(&error));
            }
            accepted(StatusCode::OK, &format!("{registered} workers"))
        }
    }
}

/// `PUT /models/{name}[/{version}]?min_worker=...`: each version has the workers
/// that the machine has threads for; only the answer is TorchServe's.
pub(super) async fn scale(
    State(serving): State<Arc<Serving>>,
    target: Target,
    CheckedQuery(query): CheckedQuery<Pairs>,
) -> Result<Response, Problem> {
    let model = status(&serving, &target)?;
    let fewest = count(&query, "min_worker").unwrap_or(1);
    let most = count(&query, "max_worker").unwrap_or(fewest);
    if most < fewest {
        return Err(Problem::bad_parameter(
            "max_worker cannot be less than min_worker.",
        ));
    }
    let version = version_of(&target)?;
    if value(&query, "synchronous") != Some("true") {
        return accepted(StatusCode::ACCEPTED, "Processing worker updates...");
    }
    let registry = serving.registry();
    if registry.model_ready(&model.name, version).is_err() {
        let loaded = registry.load(&model.name, version).await;
        loaded.map_err(|error| problem(&error))?;
    }
    let name = &model.name;
    let mut text = format!("Workers scaled to {fewest} for model: {name}");
    if let Some(version) = target.version_text() {
        text += &format!(", version: {version}");
    }
    accepted(StatusCode::OK, &text)
}

/// `DELETE /models/{name}[/{version}]`: takes the model, or unloads a version.
pub(super) async fn unregister(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let model = status(&serving, &target)?;
    let removed = match version_of(&target)? {
        Some(version) => serving.registry().unload(&model.name, Some(version)),
        None => serving.registry().remove(&model.name),
    };
    removed.map_err(|error| problem(&error))?;
    let name = target.name().unwrap_or_default();
    accepted(StatusCode::OK, &format!("Model \"{name}\" unregistered"))
}

/// `PUT /models/{name}/{version}/set-default`: the version gets all requests that
/// name none.
pub(super) async fn set_default(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let model = status(&serving, &target)?;
    let version = version_of(&target)?.unwrap_or_default();
    let set = serving.registry().set_default_version(&model.name, version);
    set.map_err(|error| problem(&error))?;
    let text = format!(
        "Default version successfully updated for model \"{}\" to \"{}\"",
        model.name,
        target.version_text().unwrap_or_default()
    );
    accepted(StatusCode::OK, &text)
}

/// The parameters of the query, or those of a JSON body.
fn parameters(
    query: Vec<(String, String)>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<(String, String)>, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.starts_with(b"application/json")
    });
    if !is_json || body.is_empty() {
        return Ok(query);
    }
    let object = serde_json::from_slice::<serde_json::Map<String, Value>>(body);
    let object = object.map_err(|error| {
        Problem::bad_parameter(format!("the body is not a JSON object: {error}"))
    })?;
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(k, v)| (k, text(v))).collect())
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = query.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

fn count(query: &[(String, String)], name: &str) -> Option<usize> {
    value(query, name).and_then(|text| text.parse().ok())
}

fn status(serving: &Serving, target: &Target) -> Result<ModelStatus, Problem> {
    let found = serving.registry().status(target.name().unwrap_or_default());
    found.map_err(|error| problem(&error))
}

fn problem(error: &Error) -> Problem {
    let problem = Problem::from(error);
    let problem = match error {
        Error::ModelExists { .. } => problem.with_status(StatusCode::CONFLICT),
        _ => problem,
    };
    match words(error) {
        Some(words) => problem.with_detail(words),
        None => problem,
    }
}

fn accepted(status: StatusCode, text: &str) -> Result<Response, Problem> {
    printed(status, &json!({"status": text}))
}
