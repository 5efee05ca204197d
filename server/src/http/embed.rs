//! `POST /embed` and `POST /models/{name}/embed`: from the body of a request to
//! the embeddings of its images, as JSON, as bytes or as a `.npy` file.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::accept::preferred;
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, Needs, Received, finish};
use super::observe::LogFields;
use super::problem::Problem;
use super::response::{Results, counted, counted_bytes};
use crate::core::admission::ByteShare;
use crate::core::embedding::{OUTPUTS, embedding};
use crate::core::instance::Instance;
use crate::core::npy;

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

/// Bytes of the result of an image and of each of its values, as numbers and as JSON.
const ITEM_BYTES: usize = 1024;
const VALUE_BYTES: usize = 24;

/// The number of embeddings and the values of each, for a response as bytes.
const SHAPE: HeaderName = HeaderName::from_static("x-embedding-shape");

/// The result of one image.
#[derive(Serialize)]
struct Embedding<'a> {
    model: &'a str,
    version: u64,
    request_id: &'a str,
    dimension: usize,
    embedding: &'a [f32],
}

pub(super) async fn embed(
    query: Result<Query<Parameters>, QueryRejection>,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, query, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
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
    let Query(parameters) = query.map_err(|rejection| {
        Problem::bad_parameter(format!(
            "{}; the only parameter is normalize",
            rejection.body_text()
        ))
    })?;
    match parameters.normalize.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(Problem::bad_parameter(format!(
            "normalize is `{}`; it must be true or false",
            text.escape_default()
        ))),
    }
}

fn render(call: &Call, received: Received<bool>) -> Result<Response, Problem> {
    let Received {
        parameters: normalize,
        instance,
        outcomes,
        many,
        ..
    } = received;
    let size = instance.network().info().embedding_size;
    let mut share = call.serving.admission().bytes();
    share.grow(outcomes.len() * (ITEM_BYTES + size * VALUE_BYTES))?;
    let results: Vec<Result<Vec<f32>, Problem>> = outcomes
        .into_iter()
        .map(|output| {
            let values = embedding(output?.embedding, size, normalize);
            values.map_err(|error| call.problem(&error))
        })
        .collect();
    let format = preferred(&call.headers, &FORMATS).unwrap_or(Format::Json);
    match format {
        Format::Json => {
            let results = as_json(call, &instance, &results, many)?;
            counted(&results, share)
        }
        Format::Bytes | Format::Npy => as_bytes(results, size, format, share),
    }
}

fn as_json<'a>(
    call: &'a Call,
    instance: &'a Instance,
    results: &'a [Result<Vec<f32>, Problem>],
    many: bool,
) -> Result<Results<'a, Embedding<'a>>, Problem> {
    let results = results.iter().map(|result| {
        let embedding = result.as_ref()?;
        Ok(Embedding {
            model: instance.name(),
            version: instance.version(),
            request_id: call.id.as_str(),
            dimension: embedding.len(),
            embedding,
        })
    });
    Results::new(results, many, call.id.as_str())
}

/// The embeddings as little-endian f32, row by row. The first image that has no
/// embedding makes the whole request a problem.
fn as_bytes(
    results: Vec<Result<Vec<f32>, Problem>>,
    size: usize,
    format: Format,
    share: ByteShare,
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
    let headers = [(CONTENT_TYPE, content_type), (SHAPE, shape)];
    Ok((headers, counted_bytes(bytes, share)).into_response())
}
