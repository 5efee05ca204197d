//! `POST /classify` and `POST /models/{name}/classify`: from the body of a
//! request to the most probable classes of its images.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use model::Outputs;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::body::IncomingBody;
use super::forms::{Form, Images};
use super::observe::{LogFields, RequestId};
use super::problem::{Problem, ProblemType};
use super::response::{Clamped, Classification, Item, json};
use super::target::Target;
use crate::core::admission::ByteShare;
use crate::core::batch::{ImageOutput, Timings};
use crate::core::error::{Error, ErrorClass};
use crate::core::image::EncodedImage;
use crate::core::instance::Instance;
use crate::core::prediction::predictions;
use crate::core::serving::Serving;

/// Classes that are returned when the request does not say how many.
const DEFAULT_TOP_K: usize = 5;

/// The query of a request. Text, so that the problem can quote it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    top_k: Option<String>,
}

pub(super) async fn classify(
    State(serving): State<Arc<Serving>>,
    Extension(id): Extension<RequestId>,
    target: Option<Path<Target>>,
    query: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = IncomingBody::new(&parts.headers, body);
    let mut fields = LogFields::default();
    let call = Call {
        serving: &serving,
        headers: &parts.headers,
        id: &id,
        target: target.map(|Path(target)| target).unwrap_or_default(),
    };
    let mut response = match call.respond(query, body, &mut fields).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(fields);
    response
}

/// One request without its body.
struct Call<'a> {
    serving: &'a Serving,
    headers: &'a HeaderMap,
    id: &'a RequestId,
    target: Target,
}

impl Call<'_> {
    async fn respond(
        &self,
        query: Result<Query<Parameters>, QueryRejection>,
        mut body: IncomingBody,
        fields: &mut LogFields,
    ) -> Result<Response, Problem> {
        let limits = self.serving.limits();
        let deadline = Deadline::after(limits.request_timeout);
        // Whatever can be rejected without the body is rejected before it is read.
        let early = async {
            let in_flight = self.serving.enter()?;
            let top_k = requested(query)?;
            self.serving.admission().check()?;
            let found = self
                .serving
                .registry()
                .find(self.target.name(), self.target.version()?);
            Ok::<_, Problem>((in_flight, top_k, deadline.wait_for(found).await??))
        };
        let (_in_flight, top_k, instance) = match early.await {
            Ok(early) => early,
            Err(problem) => {
                body.discard().await;
                return Err(problem);
            }
        };
        instance.name().clone_into(&mut fields.model);
        fields.version = instance.version();

        let mut share = self.serving.admission().bytes();
        let body = body.read(limits, &mut share).await?;
        fields.bytes = body.len();
        let deadline = Deadline::after(limits.request_timeout);
        let images = self.unpack(body, deadline).await?;
        fields.images = images.files.len();
        let many = images.many;
        let outcomes = self.outcomes(&instance, images, share, deadline).await?;
        fields.timings = slowest(&outcomes);
        self.render(&instance, top_k, outcomes, many)
    }

    /// The images of a body.
    async fn unpack(&self, body: Bytes, deadline: Deadline) -> Result<Images, Problem> {
        let most = self.serving.limits().max_images;
        match Form::of(self.headers, &body)? {
            Form::Raw => Form::Raw.unpack(body, most),
            // Megabytes are parsed on the thread pool, not between two sockets.
            form => {
                let parsing = self.serving.run_job(move || form.unpack(body, most));
                let images = deadline.wait_for(parsing).await?;
                images.map_err(|error| self.problem(&error))?
            }
        }
    }

    /// The result or problem of each image, in order.
    async fn outcomes(
        &self,
        instance: &Instance,
        images: Images,
        share: ByteShare,
        deadline: Deadline,
    ) -> Result<Vec<Result<ImageOutput, Problem>>, Problem> {
        let permits = self.serving.admission().images(images.files.len())?;
        let share = Arc::new(share);
        let infer = async |(file, permit)| {
            let image = EncodedImage::new(file, images.encoding, Arc::clone(&share));
            let output = instance.infer(image, Outputs::default(), permit);
            let output = deadline.wait_for(output).await?;
            output.map_err(|error| self.problem(&error))
        };
        let files = images.files.into_iter();
        Ok(join_all(files.zip(permits).map(infer)).await)
    }

    /// Logits -> top-k -> JSON.
    fn render(
        &self,
        instance: &Instance,
        top_k: usize,
        outcomes: Vec<Result<ImageOutput, Problem>>,
        many: bool,
    ) -> Result<Response, Problem> {
        let labels = instance.network().labels();
        let activation = instance.network().activation();
        let classes = labels.len();
        let classification = |output: &ImageOutput| Classification {
            model: instance.name(),
            version: instance.version(),
            request_id: self.id.as_str(),
            activation,
            predictions: predictions(&output.logits, labels, activation, top_k.min(classes)),
            top_k: (top_k > classes).then_some(Clamped {
                requested: top_k,
                returned: classes,
            }),
        };
        let timing = server_timing(instance, slowest(&outcomes));
        let mut response = if many {
            let items = outcomes.iter().map(|outcome| match outcome {
                Ok(output) => Item::Classification(classification(output)),
                Err(problem) => Item::Problem(problem.body(self.id.as_str())),
            });
            json(&items.collect::<Vec<_>>())?
        } else {
            let only = outcomes.into_iter().next().ok_or_else(Problem::internal)?;
            json(&classification(&only?))?
        };
        response
            .headers_mut()
            .insert(HeaderName::from_static("server-timing"), timing);
        Ok(response)
    }

    /// Renders an error of the core as a problem. The cause of an internal error is
    /// logged and not returned.
    fn problem(&self, error: &Error) -> Problem {
        if error.class() == ErrorClass::Internal {
            tracing::error!(request_id = self.id.as_str(), %error, "an image failed");
        }
        Problem::from(error)
    }
}

fn requested(query: Result<Query<Parameters>, QueryRejection>) -> Result<usize, Problem> {
    let bad = |detail| Problem::new(ProblemType::BadParameter, detail);
    let Query(parameters) = query.map_err(|rejection| {
        bad(format!(
            "{}; the only parameter is top_k",
            rejection.body_text()
        ))
    })?;
    let Some(text) = parameters.top_k else {
        return Ok(DEFAULT_TOP_K);
    };
    match text.parse() {
        Ok(top_k) if top_k > 0 => Ok(top_k),
        _ => Err(bad(format!(
            "top_k is `{}`; it must be the number of classes to return, an integer of at least 1",
            text.escape_default()
        ))),
    }
}

/// The deadline of a request.
#[derive(Clone, Copy)]
struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    async fn wait_for<T>(self, future: impl Future<Output = T>) -> Result<T, Problem> {
        timeout_at(self.at, future).await.map_err(|_| {
            let detail = format!(
                "no result within {} s; send the request again when the server is less busy",
                self.limit.as_secs_f64()
            );
            Problem::new(ProblemType::DeadlineExceeded, detail)
        })
    }
}

/// The longest time of each step over all images.
fn slowest(outcomes: &[Result<ImageOutput, Problem>]) -> Timings {
    let timings = outcomes.iter().flatten().map(|output| output.timings);
    timings.fold(Timings::default(), |a, b| Timings {
        decode: a.decode.max(b.decode),
        queue: a.queue.max(b.queue),
        forward: a.forward.max(b.forward),
    })
}

fn server_timing(instance: &Instance, timings: Timings) -> HeaderValue {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let text = format!(
        "model;desc=\"{}/{}\", decode;dur={:.2}, queue;dur={:.2}, forward;dur={:.2}",
        instance.name(),
        instance.version(),
        ms(timings.decode),
        ms(timings.queue),
        ms(timings.forward)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("decode"))
}
