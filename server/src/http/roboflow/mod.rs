//! Version 1 of the API of Roboflow's inference server, as `inference-sdk` calls
//! it: the models of the server and the classification of images.

mod answer;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use self::answer::{Answer, Model, Prediction, Registry, Size, rounded};
use self::request::{Request, model_id, name_and_version};
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, finish};
use super::dialect::{Dialect, ErrorResponse};
use super::document::Node;
use super::inference::{Inference, Inferred, Named, Parsed, malformed};
use super::observe::LogFields;
use super::problem::Problem;
use super::protocol::{Protocol, Protocols};
use super::response::{counted, json};
use crate::core::registry::status::ModelStatus;
use crate::core::scores::best;
use crate::core::serving::Serving;

/// Its name and its errors.
pub(super) const DIALECT: Dialect = Dialect {
    protocol: Protocol::Roboflow,
    render,
};

/// The route of requests with images.
pub(super) const CLASSIFY: &str = "/infer/classification";

/// The routes of the public listener.
pub(super) fn public(_: &Protocols) -> Router<Arc<Serving>> {
    Router::new()
        .route(CLASSIFY, post(classify))
        .route("/model/registry", get(registry))
        .route("/model/add", post(add))
}

#[derive(Serialize)]
struct Failure<'a> {
    message: &'a str,
}

/// Clients try again after 503.
fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let message = problem.detail();
    ErrorResponse::json(problem.dialect_status(), &Failure { message })
}

/// The models that are loaded, or can be.
async fn registry(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let models = serving.registry().list();
    json(&Registry {
        models: models
            .iter()
            .flat_map(|model| listed(model, None))
            .collect(),
    })
}

/// Returns the models, among them the one that the body names: clients ask for it
/// when the list did not have it. No model is loaded from Roboflow.
async fn add(ImageRequest { call, body }: ImageRequest) -> Result<Response, Problem> {
    let serving = &call.serving;
    let mut share = serving.admission().bytes();
    let body = body.read_small(serving.limits(), &mut share).await?;
    let mut document = Node::parse(&body).map_err(malformed)?;
    let id = model_id(&mut document).map_err(malformed)?;
    let (name, version) = name_and_version(&id);
    let registry = serving.registry();
    let model = registry.status(name)?;
    registry.model_ready(name, version)?;
    let others = registry.list();
    let mut models: Vec<Model> = listed(&model, Some(&id)).collect();
    models.extend(others.iter().flat_map(|model| listed(model, None)));
    json(&Registry { models })
}

/// The loaded model as a client names it, or under its name and with its versions.
fn listed<'a>(model: &'a ModelStatus, id: Option<&'a str>) -> impl Iterator<Item = Model> + 'a {
    let newest = model
        .versions
        .iter()
        .rev()
        .find_map(|v| v.instance.as_ref());
    let side = newest.map_or(0, |instance| instance.network().info().input_size);
    let names = match id {
        Some(id) => vec![id.to_owned()],
        None => {
            let versions = model.versions.iter().filter(|v| v.instance.is_some());
            let numbered = versions.map(|v| format!("{}/{}", model.name, v.version));
            std::iter::once(model.name.clone())
                .chain(numbered)
                .collect()
        }
    };
    names.into_iter().map(move |model_id| Model {
        model_id,
        task_type: "classification",
        batch_size: None,
        input_height: side,
        input_width: side,
    })
}

async fn classify(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, body, &mut fields).await;
    finish(response, fields)
}

/// What the answer needs of a request.
struct Rest {
    many: bool,
    threshold: f64,
    id: Option<String>,
}

async fn respond(
    call: &Call,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let inference = Inference::new(call);
    let parse = |body: &Bytes, most| {
        let request = Request::read(body, most)?;
        let (name, version) = name_and_version(&request.model);
        let named = Named {
            name: Some(name.to_owned()),
            version,
        };
        Ok(Parsed {
            model: Some(named),
            images: request.images,
            rest: Rest {
                many: request.many,
                threshold: request.threshold,
                id: request.id,
            },
        })
    };
    let inferred = inference.run(None, body, parse, fields).await?;
    let size = inferred.size(usize::MAX);
    let request_id = call.id.clone();
    let answered = move |inferred: &Inferred<Rest>, share| {
        let answers = answers(request_id.as_str(), inferred, started);
        match (inferred.rest.many, answers.first()) {
            (true, _) => counted(&answers, share),
            (false, Some(only)) => counted(only, share),
            (false, None) => Err(Problem::internal()),
        }
    };
    inferred.render(call, size, answered).await
}

fn answers<'a>(
    request_id: &'a str,
    inferred: &'a Inferred<Rest>,
    started: Instant,
) -> Vec<Answer<'a>> {
    let Rest { threshold, id, .. } = &inferred.rest;
    let interpretation = inferred.instance.interpretation();
    let classes = interpretation.labels.len();
    let outputs = inferred.outputs.iter();
    let answer = |output: &crate::core::batch::ImageOutput| {
        let scores = best(interpretation, &output.logits, classes);
        let [width, height] = output.crop.photo;
        let top = scores.first();
        Answer {
            inference_id: id.as_deref().unwrap_or(request_id),
            time: started.elapsed().as_secs_f64(),
            image: Size { width, height },
            predictions: Prediction::list(&scores, *threshold),
            top: top.map_or("", |score| score.label),
            confidence: top.map_or(0.0, |score| rounded(score.value)),
        }
    };
    outputs.map(answer).collect()
}
