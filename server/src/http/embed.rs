//! `POST /embed` and `POST /models/{name}/embed`: from the body of a request to
//! the embeddings of its images, as JSON, as bytes or as a `.npy` file.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::accept::preferred;
use super::body::IncomingBody;
use super::classify::{Call, Needs, Received, finish, server_timing, slowest};
use super::observe::{LogFields, RequestId};
use super::problem::{Problem, ProblemType};
use super::response::{Item, json};
use super::target::Target;
use crate::core::embedding::{OUTPUTS, embedding};
use crate::core::instance::Instance;
use crate::core::npy;
use crate::core::serving::Serving;

/// The query of a request. Text, so that the problem can quote it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    normalize: Option<String>,
}

/// The form of a response.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Json,
    Bytes,
    Npy,
}

const FORMATS: [(&str, Format); 3] = [
    ("application/json", Format::Json),
    ("application/octet-stream", Format::Bytes),
    ("application/x-npy", Format::Npy),
];

/// The number of embeddings and the values of each, for a response as bytes.
const SHAPE: HeaderName = HeaderName::from_static("x-embedding-shape");

/// The result of one image.
#[derive(Serialize)]
struct Embedding<'a> {
    model: &'a str,
    version: u64,
    request_id: &'a str,
    dimension: usize,
    embedding: Vec<f32>,
}

pub(super) async fn embed(
    State(serving): State<Arc<Serving>>,
    Extension(id): Extension<RequestId>,
    target: Option<Path<Target>>,
    query: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = IncomingBody::new(&parts.headers, body);
    let mut fields = LogFields::default();
    let call = Call::new(&serving, &parts.headers, &id, target);
    let response = respond(&call, query, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call<'_>,
    query: Result<Query<Parameters>, QueryRejection>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let needs = Needs {
        outputs: OUTPUTS,
        ..Needs::default()
    };
    let prepare = |normalize, _: &Instance| Ok((normalize, needs));
    let received = call.receive(requested(query), prepare, body, fields);
    render(call, received.await?)
}

fn requested(query: Result<Query<Parameters>, QueryRejection>) -> Result<bool, Problem> {
    let bad = |detail| Problem::new(ProblemType::BadParameter, detail);
    let Query(parameters) = query.map_err(|rejection| {
        bad(format!(
            "{}; the only parameter is normalize",
            rejection.body_text()
        ))
    })?;
    match parameters.normalize.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(bad(format!(
            "normalize is `{}`; it must be true or false",
            text.escape_default()
        ))),
    }
}

fn render(call: &Call<'_>, received: Received<bool>) -> Result<Response, Problem> {
    let Received {
        parameters: normalize,
        instance,
        outcomes,
        many,
        ..
    } = received;
    let timing = server_timing(&instance, slowest(&outcomes));
    let size = instance.network().info().embedding_size;
    let results: Vec<Result<Vec<f32>, Problem>> = outcomes
        .into_iter()
        .map(|output| {
            let values = embedding(output?, size, normalize);
            values.map_err(|error| call.problem(&error))
        })
        .collect();
    let format = preferred(call.headers, &FORMATS).unwrap_or(Format::Json);
    let mut response = match format {
        Format::Json => as_json(call, &instance, results, many)?,
        Format::Bytes | Format::Npy => as_bytes(results, size, format)?,
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("server-timing"), timing);
    Ok(response)
}

fn as_json(
    call: &Call<'_>,
    instance: &Instance,
    results: Vec<Result<Vec<f32>, Problem>>,
    many: bool,
) -> Result<Response, Problem> {
    let item = |embedding: Vec<f32>| Embedding {
        model: instance.name(),
        version: instance.version(),
        request_id: call.id.as_str(),
        dimension: embedding.len(),
        embedding,
    };
    if many {
        let items = results.iter().map(|result| match result {
            Ok(embedding) => Item::Result(item(embedding.clone())),
            Err(problem) => Item::Problem(problem.body(call.id.as_str())),
        });
        return json(&items.collect::<Vec<_>>());
    }
    let only = results.into_iter().next().ok_or_else(Problem::internal)?;
    json(&item(only?))
}

/// The embeddings as little-endian f32, row by row. The first image that has no
/// embedding makes the whole request a problem.
fn as_bytes(
    results: Vec<Result<Vec<f32>, Problem>>,
    size: usize,
    format: Format,
) -> Result<Response, Problem> {
    let count = results.len();
    let mut bytes = match format {
        Format::Npy => npy::header(count, size),
        _ => Vec::new(),
    };
    for (at, result) in results.into_iter().enumerate() {
        let embedding = result.map_err(|problem| match count {
            1 => problem,
            _ => problem.of_part(&format!("image {} of {count}", at + 1)),
        })?;
        bytes.extend(npy::little_endian(&embedding));
    }
    let named = FORMATS.into_iter().find(|&(_, named)| named == format);
    let content_type = HeaderValue::from_static(named.map_or("", |(name, _)| name));
    let shape = HeaderValue::try_from(format!("{count},{size}"));
    let shape = shape.map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, content_type), (SHAPE, shape)], bytes).into_response())
}
