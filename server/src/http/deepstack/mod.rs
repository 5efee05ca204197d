//! The scene recognition of DeepStack and CodeProject.AI: the best label of an
//! image in a form.

mod answer;

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;

use self::answer::{Answer, Failure};
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::fields::{encoding, fields, last};
use super::inference::{Inference, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::response::json;
use crate::core::scores::best;
use crate::core::sent::Sent;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::DeepStack,
    render,
};

/// The only route.
pub(super) const SCENE: &str = "/v1/vision/scene";

/// The routes of the public listener.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new().route(SCENE, post(scene))
}

fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let failure = Failure {
        success: false,
        error: problem.detail(),
    };
    ErrorResponse::json(problem.dialect_status(), &failure)
}

async fn scene(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    body: IncomingBody,
    log: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference::new(call);
    let content_type = call.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let parse = move |body: &Bytes, _| {
        let form = fields(&content_type, body)?.unwrap_or_default();
        let image = last(&form, &["image"]).ok_or("the form has no field `image`")?;
        let encoding = encoding(&image);
        Ok(Parsed {
            model: None,
            images: vec![Sent::File(image, encoding)],
            rest: (),
        })
    };
    let inferred = inference.run(None, body, parse, log).await?;
    let interpretation = inferred.instance.interpretation();
    let output = inferred.outputs.first().ok_or_else(Problem::internal)?;
    let scores = best(interpretation, &output.logits, 1);
    let top = scores.first().ok_or_else(Problem::internal)?;
    json(&Answer {
        success: true,
        label: top.label,
        confidence: top.value,
    })
}
