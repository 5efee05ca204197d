//! `POST /classify`: from a request's body to its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::body::Incoming;
use super::forms::{Form, Images};
use super::observe::{Account, RequestId};
use crate::admission::ByteShare;
use crate::answer::{Answer, Clamped, Item, predictions};
use crate::batch::{Row, Timings};
use crate::classifier::{Classifier, Failure};
use crate::network::Network;
use crate::problem::{Kind, Problem};
use crate::service::Service;
use crate::upload::Upload;

/// How many classes are told when nothing is asked for.
const DEFAULT_TOP_K: usize = 5;

/// The query of a request. Text, so that the problem can quote it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    top_k: Option<String>,
}

pub(super) async fn classify(
    State(service): State<Arc<Service>>,
    Extension(id): Extension<RequestId>,
    query: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = Incoming::new(&parts.headers, body);
    let mut account = Account::default();
    let call = Call {
        service: &service,
        headers: &parts.headers,
        id: &id,
    };
    let mut response = match call.answer(query, body, &mut account).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(account);
    response
}

/// One request, apart from its body.
struct Call<'a> {
    service: &'a Service,
    headers: &'a HeaderMap,
    id: &'a RequestId,
}

impl Call<'_> {
    async fn answer(
        &self,
        query: Result<Query<Parameters>, QueryRejection>,
        mut body: Incoming,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        // What can be refused without the body is refused before it.
        let early = || {
            let visit = self.service.enter()?;
            let top_k = requested(query)?;
            self.service.admission().check()?;
            Ok((visit, top_k))
        };
        let (visit, top_k) = match early() {
            Ok(early) => early,
            Err(problem) => {
                body.discard().await;
                return Err(problem);
            }
        };
        let classifier = visit.classifier;
        let limits = self.service.limits();
        let mut share = self.service.admission().bytes();
        let body = body.read(limits, &mut share).await?;
        account.bytes = body.len();

        let deadline = Deadline::after(limits.request_timeout);
        let images = self.unpack(classifier, body, deadline).await?;
        account.images = images.files.len();
        let many = images.many;
        let outcomes = self.outcomes(classifier, images, share, deadline).await?;
        account.timings = slowest(&outcomes);
        self.respond(classifier.network(), top_k, outcomes, many)
    }

    /// The images of a body.
    async fn unpack(
        &self,
        classifier: &Classifier,
        body: Bytes,
        deadline: Deadline,
    ) -> Result<Images, Problem> {
        let most = self.service.limits().max_images;
        match Form::of(self.headers, &body)? {
            Form::Raw => Form::Raw.unpack(body, most),
            // Megabytes are parsed on a core, not between two sockets.
            form => {
                let parsing = classifier.on_core(move || form.unpack(body, most));
                let images = deadline.wait_for(parsing).await?;
                images.map_err(|failure| self.problem(&failure))?
            }
        }
    }

    /// Each image's logits or problem, in order.
    async fn outcomes(
        &self,
        classifier: &Classifier,
        images: Images,
        share: ByteShare,
        deadline: Deadline,
    ) -> Result<Vec<Result<Row, Problem>>, Problem> {
        let permits = self.service.admission().images(images.files.len())?;
        let share = Arc::new(share);
        let classify = async |(file, permit)| {
            let upload = Upload::new(file, images.encoding, Arc::clone(&share));
            let row = deadline
                .wait_for(classifier.classify(upload, permit))
                .await?;
            row.map_err(|failure| self.problem(&failure))
        };
        let files = images.files.into_iter();
        Ok(join_all(files.zip(permits).map(classify)).await)
    }

    /// Logits -> top-k -> JSON.
    fn respond(
        &self,
        network: &dyn Network,
        top_k: usize,
        outcomes: Vec<Result<Row, Problem>>,
        many: bool,
    ) -> Result<Response, Problem> {
        let labels = network.labels();
        let classes = labels.len();
        let answer = |row: &Row| Answer {
            model: &network.card().name,
            request_id: self.id.as_str(),
            predictions: predictions(&row.logits, labels, top_k.min(classes)),
            top_k: (top_k > classes).then_some(Clamped {
                requested: top_k,
                returned: classes,
            }),
        };
        let timing = server_timing(slowest(&outcomes));
        let mut response = if many {
            let items = outcomes.iter().map(|outcome| match outcome {
                Ok(row) => Item::Answer(answer(row)),
                Err(problem) => Item::Problem(problem.body(self.id.as_str())),
            });
            json(&items.collect::<Vec<_>>())?
        } else {
            let only = outcomes.into_iter().next().ok_or_else(Problem::internal)?;
            json(&answer(&only?))?
        };
        response
            .headers_mut()
            .insert(HeaderName::from_static("server-timing"), timing);
        Ok(response)
    }

    /// What a failure means to the client; ours is told to the log in full.
    fn problem(&self, failure: &Failure) -> Problem {
        let problem = Problem::from(failure);
        if problem.kind == Kind::Internal {
            tracing::error!(request_id = self.id.as_str(), %failure, "an image failed");
        }
        problem
    }
}

fn requested(query: Result<Query<Parameters>, QueryRejection>) -> Result<usize, Problem> {
    let bad = |detail| Problem::new(Kind::BadParameter, detail);
    let Query(parameters) = query.map_err(|rejection| {
        bad(format!(
            "{}; the one parameter is top_k",
            rejection.body_text()
        ))
    })?;
    let Some(text) = parameters.top_k else {
        return Ok(DEFAULT_TOP_K);
    };
    match text.parse() {
        Ok(top_k) if top_k > 0 => Ok(top_k),
        _ => Err(bad(format!(
            "top_k is `{}`; give the number of classes to tell, a whole number from 1",
            text.escape_default()
        ))),
    }
}

/// When a request's time is up, counted from its body's arrival.
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
                "no answer within {} s of the body's arrival; send the request again when the \
                 server is less busy",
                self.limit.as_secs_f64()
            );
            Problem::new(Kind::DeadlineExceeded, detail)
        })
    }
}

fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

/// Of several images the longest time of each step.
fn slowest(outcomes: &[Result<Row, Problem>]) -> Timings {
    let rows = outcomes.iter().flatten().map(|row| row.timings);
    rows.fold(Timings::default(), |a, b| Timings {
        decode: a.decode.max(b.decode),
        queue: a.queue.max(b.queue),
        forward: a.forward.max(b.forward),
    })
}

fn server_timing(timings: Timings) -> HeaderValue {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let text = format!(
        "decode;dur={:.2}, queue;dur={:.2}, forward;dur={:.2}",
        ms(timings.decode),
        ms(timings.queue),
        ms(timings.forward)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("decode"))
}
