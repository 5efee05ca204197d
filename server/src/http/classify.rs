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
use tokio::time::{Instant, timeout_at};

use super::body::IncomingBody;
use super::forms::{Form, Images};
use super::observe::{LogFields, RequestId};
use super::problem::{Problem, ProblemType};
use super::query::{Pairs, Parameters};
use super::response::{Classification, Item, json};
use super::target::Target;
use crate::core::admission::ByteShare;
use crate::core::answer::{AnswerOptions, Selection};
use crate::core::batch::{ImageOutput, Timings};
use crate::core::error::{Error, ErrorClass};
use crate::core::image::EncodedImage;
use crate::core::instance::Instance;
use crate::core::serving::Serving;

pub(super) async fn classify(
    State(serving): State<Arc<Serving>>,
    Extension(id): Extension<RequestId>,
    target: Option<Path<Target>>,
    query: Result<Query<Pairs>, QueryRejection>,
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
        query: Result<Query<Pairs>, QueryRejection>,
        mut body: IncomingBody,
        fields: &mut LogFields,
    ) -> Result<Response, Problem> {
        let limits = self.serving.limits();
        let deadline = Deadline::after(limits.request_timeout);
        // Whatever can be rejected without the body is rejected before it is read.
        let early = async {
            let in_flight = self.serving.enter()?;
            let parameters = Parameters::read(query, self.serving.min_confidence())?;
            self.serving.admission().check()?;
            let found = self
                .serving
                .registry()
                .find(self.target.name(), self.target.version()?);
            let instance = deadline.wait_for(found).await??;
            let wanted = Wanted::new(&parameters, &instance)?;
            Ok::<_, Problem>((in_flight, wanted, instance))
        };
        let (_in_flight, wanted, instance) = match early.await {
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
        self.render(&instance, &wanted, outcomes, many)
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

    /// Logits -> answers -> JSON.
    fn render(
        &self,
        instance: &Instance,
        wanted: &Wanted,
        outcomes: Vec<Result<ImageOutput, Problem>>,
        many: bool,
    ) -> Result<Response, Problem> {
        let interpretation = instance.interpretation();
        let selection = wanted.selection.as_ref();
        let classification = |output: &ImageOutput| Classification {
            model: instance.name(),
            version: instance.version(),
            request_id: self.id.as_str(),
            answer: interpretation.answer(&output.logits, selection, wanted.options),
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

/// What a request wants to know of its images.
struct Wanted {
    options: AnswerOptions,
    selection: Option<Selection>,
}

impl Wanted {
    fn new(parameters: &Parameters, instance: &Instance) -> Result<Self, Problem> {
        Ok(Self {
            options: parameters.options,
            selection: Selection::find(&parameters.labels, instance.categories())?,
        })
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
