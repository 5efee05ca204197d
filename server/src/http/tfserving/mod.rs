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

use self::path::Verb;
use self::status::{Status, VersionStatus};
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::inference::{Inference, Inferred, Named, Parsed, in_words};
use super::observe::LogFields;
use super::problem::{Problem, ProblemType};
use super::protocol::{Protocol, Protocols};
use super::response::counted_bytes;
use super::target::PathText;
use super::torchserve::predict;
use crate::core::admission::ByteShare;
use crate::core::answer::TOP_K;
use crate::core::scores::best;
use crate::core::serving::Serving;
use crate::tfserving::failure::{Failure, words};
use crate::tfserving::state::{described, states};
use crate::tfserving::version::Version;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::TensorFlowServing,
    render,
};

/// Why there are no regressions.
const NO_REGRESS: &str = "Expected regression signature method_name to be \
                          tensorflow/serving/regress. Was: tensorflow/serving/predict";

/// Bytes of a number and of its text in a response.
const NUMBER_BYTES: usize = 32;

/// The route of the requests for a model.
pub(super) const MODELS: &str = "/v1/models/{*path}";

/// The routes of the public listener.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
        .route("/v1/models", get(list))
        .route(MODELS, get(describe).post(infer))
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
    let (name, registry) = (&request.model, serving.registry());
    if request.verb == Verb::Metadata {
        let instance = described(registry, name, &request.version).map_err(|f| problem(&f))?;
        let classes = instance.network().info().classes;
        return json(&status::metadata(name, instance.version(), classes));
    }
    let (states, version) = states(registry, name, &request.version).map_err(|f| problem(&f))?;
    json(&Status {
        model_version_status: states.iter().map(VersionStatus::from).collect(),
        name,
        ready: registry.model_ready(name, version).is_ok(),
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
    let model = named(&call.serving, &request.model, &request.version)?;
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
        Verb::Regress | Verb::Status | Verb::Metadata => Err(Problem::bad_parameter(NO_REGRESS)),
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

/// The model and the version that a request names.
///
/// # Errors
/// An unknown label, or an unknown model with a version.
pub(crate) fn named(serving: &Serving, name: &str, version: &Version) -> Result<Named, Problem> {
    let number = match version {
        Version::Any => None,
        version => {
            let model = serving.registry().status(name);
            let model = model.map_err(|error| in_words(Problem::from(&error), &error, words))?;
            version.number(&model, name).map_err(|f| problem(&f))?
        }
    };
    Ok(Named {
        name: Some(name.to_owned()),
        version: number,
    })
}

/// A failure as a problem.
pub(crate) fn problem(failure: &Failure) -> Problem {
    match failure.is_missing() {
        true => Problem::new(ProblemType::ModelNotFound, failure.to_string()),
        false => Problem::bad_parameter(failure.to_string()),
    }
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
