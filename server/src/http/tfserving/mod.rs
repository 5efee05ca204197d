//! The REST API of TensorFlow Serving below `/v1/models`, with what KServe's
//! version 1 adds at the same paths.

mod answer;
mod path;
mod request;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;

use self::path::{Verb, Version};
use self::status::{Status, VersionStatus};
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::inference::{Inference, Inferred, Named, Parsed};
use super::observe::LogFields;
use super::problem::{Problem, ProblemType};
use super::protocol::{Protocol, Protocols};
use super::response::counted_bytes;
use super::scores::best;
use super::target::PathText;
use super::torchserve::predict;
use crate::core::admission::ByteShare;
use crate::core::answer::TOP_K;
use crate::core::error::Error;
use crate::core::registry::status::ModelStatus;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::TensorFlowServing,
    render,
};

/// Bytes of a number and of its text in a response.
const NUMBER_BYTES: usize = 32;

/// The routes of the public listener.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
        .route("/v1/models", get(list))
        .route("/v1/models/{*path}", get(describe).post(infer))
}

fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let status = match problem.problem_type.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
            StatusCode::BAD_REQUEST
        }
        other => other,
    };
    ErrorResponse {
        status,
        content_type: "application/json",
        body: answer::error(problem.detail()).into(),
        headers: Vec::new(),
    }
}

/// Messages that clients look for.
fn words(error: &Error) -> Option<String> {
    match error {
        Error::UnknownModel { name } => {
            Some(format!("Servable not found for request: Latest({name})"))
        }
        Error::UnknownVersion { name, version, .. } => Some(format!(
            "Servable not found for request: Specific({name}, {version})"
        )),
        _ => None,
    }
}

/// KServe's list of models.
async fn list(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let models = serving.registry().list().into_iter();
    let names: Vec<String> = models.map(|model| model.name).collect();
    json(&json!({"models": names}))
}

/// `GET /v1/models/{name}[/versions/{v}|/labels/{l}][/metadata]`.
async fn describe(
    State(serving): State<Arc<Serving>>,
    PathText(path): PathText,
    uri: Uri,
) -> Result<Response, Problem> {
    let request = path::parse(&path).filter(|request| !request.verb.is_post());
    let request = request.ok_or_else(|| malformed(&Method::GET, &uri))?;
    let unknown = |_| missing(format!("Could not find any versions of model {path}"));
    let name = &request.model;
    let model = serving.registry().status(name).map_err(unknown)?;
    let version = number(&request.version, name, &model)?;
    let versions = model.versions.iter();
    let mut versions = versions.filter(|v| version.is_none_or(|number| number == v.version));
    if request.verb == Verb::Metadata {
        let mut loaded = versions.filter_map(|v| v.instance.as_ref());
        let instance = loaded
            .next_back()
            .ok_or_else(|| missing(format!("Servable not found for request: Latest({name})")))?;
        let classes = instance.network().info().classes;
        return json(&status::metadata(name, instance.version(), classes));
    }
    let states: Vec<VersionStatus<'_>> = versions
        .by_ref()
        .map(|v| VersionStatus::new(v.version, v.state.name(), v.reason.as_deref()))
        .collect();
    if let (true, Some(number)) = (states.is_empty(), version) {
        let text = format!("Could not find version {number} of model {name}");
        return Err(missing(text));
    }
    json(&Status {
        model_version_status: states,
        name,
        ready: serving.registry().model_ready(name, version).is_ok(),
    })
}

/// `POST /v1/models/{name}[/versions/{v}|/labels/{l}]:{verb}`.
async fn infer(
    PathText(path): PathText,
    uri: Uri,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let request = path::parse(&path).filter(|request| request.verb.is_post());
    let response = match request {
        Some(request) => respond(&call, &request, body, &mut fields).await,
        None => Err(malformed(&Method::POST, &uri)),
    };
    finish(response, fields)
}

async fn respond(
    call: &Call,
    request: &path::Request,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let model = named(call, request)?;
    let inference = Inference {
        words,
        ..Inference::new(call)
    };
    match request.verb {
        Verb::Predict => {
            let inferred = inference
                .run(Some(model), body, parse_predict, fields)
                .await?;
            let classes = inferred.instance.network().info().classes;
            let size = match inferred.rest.1 {
                true => inferred.size(TOP_K),
                false => inferred.outputs.len() * classes * NUMBER_BYTES,
            };
            inferred.render(call, size, predicted).await
        }
        Verb::Classify => {
            let inferred = inference
                .run(Some(model), body, parse_classify, fields)
                .await?;
            let interpretation = inferred.instance.interpretation();
            let outputs = inferred.outputs.iter();
            let images = outputs.map(|output| best(interpretation, &output.logits, TOP_K));
            let images: Vec<_> = images.collect();
            Ok(json_text(answer::classes(&images)))
        }
        Verb::Explain => predict::explain_images(call, model, body, fields).await,
        Verb::Regress | Verb::Status | Verb::Metadata => Err(Problem::bad_parameter(
            "Expected regression signature method_name to be tensorflow/serving/regress. Was: \
             tensorflow/serving/predict",
        )),
    }
}

fn parse_predict(body: &Bytes, most: usize) -> Result<Parsed<(answer::Layout, bool)>, String> {
    let request = request::predict(body, most)?;
    Ok(Parsed {
        model: None,
        images: request.images,
        rest: (request.layout, request.is_kserve),
    })
}

fn parse_classify(body: &Bytes, most: usize) -> Result<Parsed<()>, String> {
    Ok(Parsed {
        model: None,
        images: request::classify(body, most)?,
        rest: (),
    })
}

fn predicted(
    inferred: &Inferred<(answer::Layout, bool)>,
    share: ByteShare,
) -> Result<Response, Problem> {
    let (layout, is_kserve) = inferred.rest;
    if is_kserve {
        return predict::envelope(inferred);
    }
    let scale = inferred.instance.interpretation().scale;
    let outputs = inferred.outputs.iter();
    let images: Vec<Vec<f64>> = outputs.map(|output| scale.values(&output.logits)).collect();
    let text = answer::predictions(layout, &images);
    let mut response = counted_bytes(text.into_bytes(), share);
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// The model and the version of a path. A label stands for a version: `stable` for
/// the one that requests without a version get, `latest` for the newest.
fn named(call: &Call, request: &path::Request) -> Result<Named, Problem> {
    let name = request.model.as_str();
    let version = match &request.version {
        Version::Any => None,
        version => {
            let model = call.serving.registry().status(name);
            let model = model.map_err(|error| in_words(&error))?;
            number(version, name, &model)?
        }
    };
    Ok(Named {
        name: Some(name.to_owned()),
        version,
    })
}

fn number(version: &Version, name: &str, model: &ModelStatus) -> Result<Option<u64>, Problem> {
    match version {
        Version::Any => Ok(None),
        Version::Number(text) => text.parse().map(Some).map_err(|_| {
            missing(format!(
                "Servable not found for request: Specific({name}, {text})"
            ))
        }),
        Version::Label(label) => match label.as_str() {
            "stable" => Ok(None),
            "latest" => Ok(model.versions.last().map(|v| v.version)),
            _ => Err(Problem::bad_parameter(format!(
                "Unrecognized servable version label: {}",
                label.escape_default()
            ))),
        },
    }
}

fn in_words(error: &Error) -> Problem {
    let problem = Problem::from(error);
    match words(error) {
        Some(words) => problem.with_detail(words),
        None => problem,
    }
}

fn missing(text: String) -> Problem {
    Problem::new(ProblemType::ModelNotFound, text)
}

fn malformed(method: &Method, uri: &Uri) -> Problem {
    Problem::bad_parameter(format!("Malformed request: {method} {}", uri.path()))
}

fn json(body: &impl serde::Serialize) -> Result<Response, Problem> {
    let text = status::printed(body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
