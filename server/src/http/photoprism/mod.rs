//! The vision service of PhotoPrism: labels for a photo of which it sends several
//! crops.

mod answer;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;

use self::answer::{Answer, Labels, MOST_LABELS, Model};
use self::request::Request;
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::inference::{Inference, Named, Parsed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::response::json;
use crate::core::scores::best;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::PhotoPrism,
    render,
};

/// The route of most requests with images.
pub(super) const LABELS: &str = "/api/v1/vision/labels";

/// The routes of the public listener. PhotoPrism calls the address in its
/// `vision.yml`; these are the paths of its own service.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
        .route(LABELS, post(labels))
        .route(&format!("{LABELS}/{{name}}"), post(labels))
        .route(&format!("{LABELS}/{{name}}/{{version}}"), post(labels))
}

fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let status = problem.dialect_status();
    let answer = Answer {
        id: "",
        code: status.as_u16(),
        error: Some(problem.detail()),
        model: None,
        result: Labels::default(),
    };
    ErrorResponse::json(status, &answer)
}

async fn labels(ImageRequest { call, body }: ImageRequest) -> Response {
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
    let name = call.target.name();
    let model = match (name, call.target.version_text()) {
        (None, _) => None,
        (Some(name), None | Some("latest")) => Some(Named::model(name)),
        (Some(name), Some(_)) => Some(Named {
            name: Some(name.to_owned()),
            version: call.target.version()?,
        }),
    };
    let in_path = model.is_some();
    let parse = move |body: &Bytes, most| {
        let request = Request::read(body, most)?;
        let model = request.model.map(Named::model);
        Ok(Parsed {
            model: model.filter(|_| !in_path),
            images: request.images,
            rest: request.id,
        })
    };
    let inferred = inference.run(model, body, parse, fields).await?;
    let instance = &inferred.instance;
    let interpretation = instance.interpretation();
    let outputs = inferred.outputs.iter();
    let crops = outputs.map(|output| best(interpretation, &output.logits, MOST_LABELS));
    let crops: Vec<_> = crops.collect();
    json(&Answer {
        id: &inferred.rest,
        code: 200,
        error: None,
        model: Some(Model {
            kind: "labels",
            name: instance.name(),
            version: instance.version().to_string(),
            resolution: instance.network().info().input_size,
        }),
        result: Labels::merge(&crops),
    })
}
