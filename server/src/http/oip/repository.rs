//! The model repository extension: the index on both listeners, loading and
//! unloading on the admin listener.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::errors::{problem, unsupported};
use super::json::{Object, is_too_deep};
use crate::core::error::Error;
use crate::http::call::{Call, ImageRequest};
use crate::http::problem::{Problem, ProblemType};
use crate::http::response::json;
use crate::oip::failure::Failure;
use crate::oip::metadata;

/// The body of all these requests, which may be empty.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    parameters: Option<Object<LoadParameters>>,
}

#[derive(Deserialize)]
struct LoadParameters {
    config: Option<IgnoredAny>,
}

async fn read(ImageRequest { call, body }: ImageRequest) -> Result<(Call, Body), Problem> {
    let mut share = call.serving.admission().bytes();
    let bytes = body.read(call.serving.limits(), &mut share).await?;
    let body = parse(&bytes)?;
    Ok((call, body))
}

fn parse(bytes: &[u8]) -> Result<Body, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Body::default());
    }
    let malformed = |reason: String| Problem::new(ProblemType::MalformedRequest, reason);
    if is_too_deep(bytes) {
        return Err(malformed(
            "JSON nesting depth exceeds maximum allowed limit (100)".into(),
        ));
    }
    let parsed = serde_json::from_slice(bytes).map(|Object(body)| body);
    parsed.map_err(|e| malformed(format!("failed to parse the request JSON: {e}")))
}

pub(super) async fn index(ImageRequest { call, body }: ImageRequest) -> Result<Response, Problem> {
    let mut share = call.serving.admission().bytes();
    let bytes = body.read_small(call.serving.limits(), &mut share).await?;
    let body = parse(&bytes)?;
    json(&metadata::index(
        &call.serving.registry().list(),
        body.ready,
    ))
}

pub(super) async fn load(request: ImageRequest) -> Result<StatusCode, Problem> {
    let (call, body) = read(request).await?;
    if body
        .parameters
        .is_some_and(|Object(parameters)| parameters.config.is_some())
    {
        return Err(unsupported(
            "a configuration cannot be part of the request; change the configuration file",
        ));
    }
    let name = call.target.name().unwrap_or_default();
    let loaded = call.serving.registry().load(name, None).await;
    done(&call, loaded)
}

pub(super) async fn unload(request: ImageRequest) -> Result<StatusCode, Problem> {
    let (call, _) = read(request).await?;
    let name = call.target.name().unwrap_or_default();
    let unloaded = call.serving.registry().unload(name, None);
    done(&call, unloaded)
}

fn done(call: &Call, outcome: Result<(), Error>) -> Result<StatusCode, Problem> {
    match outcome {
        Ok(()) => Ok(StatusCode::OK),
        Err(error) => Err(problem(call, &Failure::Core(error))),
    }
}

/// The public listener's answer.
pub(super) async fn refuse() -> Problem {
    let text =
        "explicit model load / unload is not allowed on this address; use the one of --admin";
    Problem::new(ProblemType::NotFound, text).with_status(StatusCode::SERVICE_UNAVAILABLE)
}
