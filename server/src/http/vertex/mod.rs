//! The two routes of a container of Vertex AI, at the paths of its environment
//! variables `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE`.

mod answer;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use self::answer::{Answer, Prediction};
use self::request::Request;
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::inference::{Inference, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Paths, Protocol};
use super::response::json as json_response;
use super::scores::best;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::VertexAi,
    render,
};

/// Paths of other APIs, whose own answers Vertex AI passes on.
const OTHERS: [&str; 5] = [
    "/predictions/",
    "/v1/models/",
    "/v2/",
    "/invocations",
    "/models/",
];

/// The routes at these paths.
pub(super) fn public(paths: &Paths) -> Router<Arc<Serving>> {
    let is_own = |path: &&String| !OTHERS.iter().any(|other| path.starts_with(other));
    let is_valid = |path: &&String| path.starts_with('/') && !path.contains(['{', '}', '*']);
    let own = |path: &Option<String>| {
        let path = path.as_ref().filter(is_own).filter(is_valid);
        path.cloned()
    };
    let mut routes = Router::new();
    if let Some(path) = own(&paths.health) {
        routes = routes.route(&path, get(health));
    }
    if let Some(path) = own(&paths.predict) {
        routes = routes.route(&path, post(predict));
    }
    routes
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let error = problem.detail();
    ErrorResponse::json(problem.problem_type.status(), &Failure { error })
}

/// Whether requests can be served.
async fn health(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    serving.ready()?;
    json_response(&json!({"status": "ok"}))
}

async fn predict(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference::new(call);
    let parse = |body: &Bytes, most| {
        let request = Request::read(body, most)?;
        Ok(Parsed {
            model: None,
            images: request.images,
            rest: (request.most, request.threshold),
        })
    };
    let inferred = inference.run(None, body, parse, fields).await?;
    let (most, threshold) = inferred.rest;
    let interpretation = inferred.instance.interpretation();
    let outputs = inferred.outputs.iter();
    let predictions = outputs.map(|output| {
        let scores = best(interpretation, &output.logits, most);
        Prediction::new(&scores, threshold)
    });
    json_response(&Answer {
        predictions: predictions.collect(),
    })
}
