//! TorchServe's management of models: register, scale, describe, unregister and
//! set the default version.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::response::printed;
use crate::core::error::Error;
use crate::core::serving::Serving;
use crate::http::call::ImageRequest;
use crate::http::inference::in_words;
use crate::http::problem::Problem;
use crate::http::query::{CheckedQuery, Pairs};
use crate::http::target::Target;
use crate::torchserve::describe::List;
use crate::torchserve::failure::{Failure, words};
use crate::torchserve::management::{
    Change, PAGE, Registration, Scaling, describe as described, register as add, scale as scaled,
    set_default as prefer, unregister as take_out,
};

/// `GET /models`.
pub(in crate::http) async fn list(
    State(serving): State<Arc<Serving>>,
    CheckedQuery(query): CheckedQuery<Pairs>,
) -> Result<Response, Problem> {
    let limit = count(&query, "limit").unwrap_or(PAGE).min(PAGE);
    let token = count(&query, "next_page_token").unwrap_or(0);
    let models = serving.registry().list();
    printed(StatusCode::OK, &List::new(&models, limit, token))
}

/// `GET /models/{name}[/{version}|/all]`.
pub(in crate::http) async fn describe(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let versions = described(&serving, name(&target), target.version_text());
    printed(StatusCode::OK, &versions.map_err(|f| problem(&f))?)
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
    let registration = Registration {
        url: value(&query, "url"),
        name: value(&query, "model_name"),
        batch: count(&query, "batch_size"),
        workers: count(&query, "initial_workers").unwrap_or(0),
        waits: value(&query, "synchronous") != Some("false"),
    };
    changed(add(serving.registry(), registration).await)
}

/// `PUT /models/{name}[/{version}]?min_worker=...`.
pub(super) async fn scale(
    State(serving): State<Arc<Serving>>,
    target: Target,
    CheckedQuery(query): CheckedQuery<Pairs>,
) -> Result<Response, Problem> {
    let scaling = Scaling {
        version: target.version_text(),
        fewest: count(&query, "min_worker"),
        most: count(&query, "max_worker"),
        waits: value(&query, "synchronous") == Some("true"),
    };
    changed(scaled(serving.registry(), name(&target), scaling).await)
}

/// `DELETE /models/{name}[/{version}]`: takes the model, or unloads a version.
pub(super) async fn unregister(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let version = target.version_text();
    changed(take_out(serving.registry(), name(&target), version))
}

/// `PUT /models/{name}/{version}/set-default`: the version gets all requests that
/// name none.
pub(super) async fn set_default(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let version = target.version_text().unwrap_or_default();
    changed(prefer(serving.registry(), name(&target), version))
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

fn name(target: &Target) -> &str {
    target.name().unwrap_or_default()
}

fn changed(change: Result<Change, Failure>) -> Result<Response, Problem> {
    let change = change.map_err(|failure| problem(&failure))?;
    let status = match change.is_done {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    printed(status, &json!({"status": change.text}))
}

/// A failure as a problem.
pub(crate) fn problem(failure: &Failure) -> Problem {
    let text = failure.to_string();
    match failure {
        Failure::Invalid(_) => Problem::bad_parameter(text),
        Failure::Core(error @ Error::ModelExists { .. }) => Problem::from(error)
            .with_status(StatusCode::CONFLICT)
            .with_detail(text),
        Failure::Core(error) => in_words(Problem::from(error), error, words),
    }
}
