//! `POST /classify` and `POST /models/{name}/classify`: from the body of a
//! request to the most probable classes of its images.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::body::IncomingBody;
use super::call::{Call, ImageRequest, Needs, Received, finish};
use super::etag;
use super::observe::LogFields;
use super::problem::Problem;
use super::query::{Pairs, Parameters};
use super::response::{Classification, Results, counted};
use crate::core::answer::{AnswerOptions, Selection};
use crate::core::batch::ImageOutput;
use crate::core::instance::Instance;

/// Bytes of the result of an image and of each of its classes, as structures and
/// as JSON. Labels are seldom longer.
const ITEM_BYTES: usize = 1024;
const CLASS_BYTES: usize = 256;

/// What a request wants to know of its images.
struct Wanted {
    options: AnswerOptions,
    selection: Option<Selection>,
    labels: Vec<String>,
}

impl Wanted {
    fn new(parameters: &Parameters, instance: &Instance) -> Result<Self, Problem> {
        Ok(Self {
            options: parameters.options,
            selection: Selection::find(&parameters.labels, instance.categories())?,
            labels: parameters.labels.clone(),
        })
    }
}

pub(super) async fn classify(
    query: Result<Query<Pairs>, QueryRejection>,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, query, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    query: Result<Query<Pairs>, QueryRejection>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(query, call.serving.min_confidence());
    let prepare = |parameters: Parameters, instance: &Instance| {
        Ok((Wanted::new(&parameters, instance)?, Needs::default()))
    };
    let received = call.receive(parameters, prepare, body, fields).await?;
    let Some(tag) = tag(&received) else {
        return render(call, &received);
    };
    let mut response = match etag::is_known(&call.headers, &tag) {
        true => etag::unchanged(),
        false => render(call, &received)?,
    };
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// The entity tag of the answer.
fn tag(received: &Received<Wanted>) -> Option<HeaderValue> {
    let Wanted {
        options, labels, ..
    } = &received.parameters;
    let parameters = format!("{options:?} {labels:?} {}", received.many);
    etag::tag(&received.instance, &received.outcomes, &parameters)
}

/// Logits -> answers -> JSON.
fn render(call: &Call, received: &Received<Wanted>) -> Result<Response, Problem> {
    let Received {
        instance,
        parameters: wanted,
        outcomes,
        many,
        ..
    } = received;
    let classes = wanted.options.top_k.min(instance.network().labels().len());
    let mut share = call.serving.admission().bytes();
    share.grow(outcomes.len() * (ITEM_BYTES + classes * CLASS_BYTES))?;
    let interpretation = instance.interpretation();
    let selection = wanted.selection.as_ref();
    let classification = |output: &ImageOutput| Classification {
        model: instance.name(),
        version: instance.version(),
        request_id: call.id.as_str(),
        answer: interpretation.answer(&output.logits, selection, wanted.options),
    };
    let results = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(classification));
    counted(&Results::new(results, *many, call.id.as_str())?, share)
}
