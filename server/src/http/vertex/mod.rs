//! The two routes of a container of Vertex AI, at the paths of its environment
//! variables `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE`.

mod answer;
mod others;
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
use super::inference::{Inference, Inferred, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::response::{counted, json as json_response};
use crate::core::admission::ByteShare;
use crate::core::scores::best;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::VertexAi,
    render,
};

/// The routes at the paths of the variables, unless a mounted API has them already.
pub(super) fn public(protocols: &Protocols) -> Router<Arc<Serving>> {
    let checks = protocols.vertex_paths().health.as_deref();
    let mut routes = Router::new();
    if let Some(path) = checks.filter(|path| is_valid(path))
        && !others::has_health(path, protocols)
    {
        routes = routes.route(path, get(health));
    }
    if let Some(path) = predict_path(protocols) {
        routes = routes.route(path, post(predict));
    }
    routes
}

/// The path of predictions, unless a mounted API has it already.
pub(super) fn predict_path(protocols: &Protocols) -> Option<&str> {
    let path = protocols.vertex_paths().predict.as_deref();
    let path = path.filter(|path| is_valid(path));
    path.filter(|path| !others::predicts(path, protocols))
}

fn is_valid(path: &str) -> bool {
    path.starts_with('/') && !path.contains(['{', '}', '*'])
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let error = problem.detail();
    ErrorResponse::json(problem.dialect_status(), &Failure { error })
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
    let size = inferred.size(inferred.rest.0);
    inferred.render(call, size, answered).await
}

fn answered(inferred: &Inferred<(usize, f64)>, share: ByteShare) -> Result<Response, Problem> {
    let (most, threshold) = inferred.rest;
    let interpretation = inferred.instance.interpretation();
    let outputs = inferred.outputs.iter();
    let predictions = outputs.map(|output| {
        let scores = best(interpretation, &output.logits, most);
        Prediction::new(&scores, threshold)
    });
    let predictions = predictions.collect();
    counted(&Answer { predictions }, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_503() {
        let response = render(&Problem::overloaded("the queue is full"), "");
        assert_eq!(response.status, 503);
        assert_eq!(response.body, br#"{"error":"the queue is full"}"#);
    }
}
