//! The two routes of a container of Amazon SageMaker, which TorchServe has as well:
//! `GET /ping` and `POST /invocations`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use serde::Deserialize;

use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::Dialect;
use super::huggingface;
use super::inference::{Inference, Inferred, Named, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::query::CheckedQuery;
use super::torchserve::error::render;
use super::torchserve::predict;
use super::torchserve::response::printed;
use crate::core::admission::ByteShare;
use crate::core::serving::Serving;
use crate::torchserve::answer::{CLASSES, health};
use crate::torchserve::failure::words;

/// Its name and its errors, which are TorchServe's.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::SageMaker,
    render,
};

const INVOCATIONS: &str = "/invocations";

/// The routes of the public listener, unless TorchServe has them.
pub(super) fn public(protocols: &Protocols) -> Router<Arc<Serving>> {
    match protocols.has(Protocol::TorchServe) {
        true => Router::new(),
        false => container(),
    }
}

/// The route of requests with images, unless TorchServe has it.
pub(super) fn images(protocols: &Protocols) -> Vec<&'static str> {
    match protocols.has(Protocol::TorchServe) {
        true => Vec::new(),
        false => vec![INVOCATIONS],
    }
}

/// The routes of a container.
pub(super) fn container() -> Router<Arc<Serving>> {
    Router::new()
        .route("/ping", any(ping))
        .route(INVOCATIONS, any(invocations))
}

/// Whether requests can be served.
pub(super) async fn ping(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let is_ready = serving.ready().is_ok();
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    printed(status, &health(is_ready))
}

/// The query of `/invocations`.
#[derive(Deserialize)]
struct Invocation {
    model_name: Option<String>,
}

/// What a body of `/invocations` is.
enum Form {
    TorchServe(predict::Rest),
    /// JSON with `inputs`, as containers of Hugging Face get it.
    HuggingFace(huggingface::Request),
}

/// Classifies with the model of the query, of the form, or the default one.
async fn invocations(
    CheckedQuery(query): CheckedQuery<Invocation>,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let model = query.model_name.filter(|name| !name.is_empty());
    let response = respond(&call, model.map(Named::model), body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    model: Option<Named>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference {
        words,
        ..Inference::new(call)
    };
    let torchserve = predict::parser(&call.headers);
    let parse = move |body: &Bytes, most: usize| match has_inputs(body) {
        true => {
            let request = huggingface::Request::read(body)?;
            Ok(Parsed {
                model: None,
                images: vec![request.image.clone()],
                rest: Form::HuggingFace(request),
            })
        }
        false => {
            let parsed = torchserve(body, most)?;
            Ok(Parsed {
                model: parsed.model,
                images: parsed.images,
                rest: Form::TorchServe(parsed.rest),
            })
        }
    };
    let inferred = inference.run(model, body, parse, fields).await?;
    let classes = match &inferred.rest {
        Form::HuggingFace(request) => request.top_k,
        Form::TorchServe(_) => CLASSES,
    };
    let size = inferred.size(classes);
    inferred.render(call, size, answered).await
}

fn answered(inferred: &Inferred<Form>, share: ByteShare) -> Result<Response, Problem> {
    match &inferred.rest {
        Form::HuggingFace(request) => huggingface::answered(inferred, request, share),
        Form::TorchServe(rest) => predict::answered(inferred, rest),
    }
}

/// Whether a body is an object with the key `inputs`.
fn has_inputs(body: &[u8]) -> bool {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    is_object && memchr::memmem::find(body, b"\"inputs\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_inputs_is_a_request_of_hugging_face() {
        assert!(has_inputs(br#" {"inputs": "/9j/"}"#));
        assert!(!has_inputs(br#"{"instances": []}"#));
        assert!(!has_inputs(b"\xff\xd8\xff \"inputs\""));
    }
}
