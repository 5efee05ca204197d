//! What `huggingface_hub` calls of an inference endpoint: images are posted to
//! the address itself or to a model, and health and information are below it.

mod answer;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;

use self::answer::{Failure, elements};
pub(super) use self::request::Request;
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::inference::{Inference, Inferred, Named, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::response::{counted, json as json_response};
use crate::core::admission::ByteShare;
use crate::core::scores::best;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::HuggingFace,
    render,
};

/// The routes of the public listener. `GET /` is the native page.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
        .route("/", post(classify))
        .route("/models/{name}", post(classify))
        .route("/health", get(health))
        .route("/info", get(info))
}

/// Clients read `error` and the header.
fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let error = problem.detail();
    let mut response = ErrorResponse::json(problem.dialect_status(), &Failure { error });
    let printable = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let text: String = error.chars().map(printable).collect();
    if let Ok(value) = HeaderValue::try_from(text) {
        let name = HeaderName::from_static("x-error-message");
        response.headers.push((name, value));
    }
    response
}

async fn classify(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let model = call.target.name().map(Named::model);
    let response = respond(&call, model, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    model: Option<Named>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference::new(call);
    let parse = |body: &Bytes, _| {
        let request = Request::read(body)?;
        Ok(Parsed {
            model: None,
            images: vec![request.image.clone()],
            rest: request,
        })
    };
    let inferred = inference.run(model, body, parse, fields).await?;
    let size = inferred.size(inferred.rest.top_k);
    let answer = |inferred: &Inferred<Request>, share| answered(inferred, &inferred.rest, share);
    inferred.render(call, size, answer).await
}

/// The answer to a request.
pub(super) fn answered<R>(
    inferred: &Inferred<R>,
    request: &Request,
    share: ByteShare,
) -> Result<Response, Problem> {
    let mut interpretation = inferred.instance.interpretation();
    if let Some(activation) = request.activation {
        interpretation.scale.activation = activation;
    }
    let output = inferred.outputs.first().ok_or_else(Problem::internal)?;
    let scores = best(interpretation, &output.logits, request.top_k);
    counted(&elements(&scores), share)
}

/// Whether requests can be served.
async fn health(State(serving): State<Arc<Serving>>) -> Result<StatusCode, Problem> {
    serving.ready()?;
    Ok(StatusCode::OK)
}

/// What is served. `name`, `version` and `uuid` are what Roboflow's client reads at
/// the same path.
async fn info(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let models = serving.registry().list();
    let default = models.iter().find(|model| model.is_default);
    let loaded = default.and_then(|model| {
        let versions = model.versions.iter().rev();
        versions.filter_map(|v| v.instance.as_ref()).next()
    });
    let info = loaded.map(|instance| instance.network().info());
    let limits = serving.limits();
    json_response(&json!({
        "model_id": default.map(|model| &model.name),
        "model_sha": info.map(|info| &info.digest),
        "model_dtype": info.map(|info| info.dtype.to_string()),
        "model_device_type": info.map(|info| info.device.to_string()),
        "model_pipeline_tag": "image-classification",
        "max_concurrent_requests": limits.max_in_flight,
        "max_client_batch_size": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "name": "resnet",
        "uuid": "resnet",
    }))
}
