//! Around every request: its id, its line in the log, its place in the
//! metrics and the body of its problem.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::CLASSIFY;
use crate::batch::Timings;
use crate::metrics::{CLIENT_GONE, Metrics};
use crate::problem::Problem;
use crate::service::Service;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const LONGEST_ID: usize = 128;

/// What a request is called in the answer, in the log and in its problem.
#[derive(Clone, Debug)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    /// The client's own, where it can be printed anywhere without harm, else
    /// a fresh UUID.
    fn of(request: &Request) -> Self {
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
        let given = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok());
        match given {
            Some(id) if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(harmless) => {
                Self(id.into())
            }
            _ => Self(Uuid::new_v4().to_string().into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the handler of `/classify` tells the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) images: usize,
    pub(super) bytes: usize,
    pub(super) timings: Timings,
}

pub(super) async fn observe(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let line = Line::begin(&request, Arc::clone(service.metrics()));
    request.extensions_mut().insert(line.id.clone());
    let mut response = next.run(request).await;
    write_problem(&mut response, &line.id);
    if let Ok(id) = HeaderValue::from_str(line.id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    line.end(&response);
    response
}

/// Gives a problem its body, now that the request's id is at hand.
fn write_problem(response: &mut Response, id: &RequestId) {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let json = serde_json::to_vec(&problem.body(id.as_str())).unwrap_or_default();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(json);
    }
}

/// A request's line in the log, written when it is dropped: also when the
/// client has gone and nobody waits for the answer any more.
struct Line {
    id: RequestId,
    method: Method,
    path: String,
    route: String,
    started: Instant,
    status: u16,
    problem: String,
    account: Account,
    metrics: Arc<Metrics>,
}

impl Line {
    fn begin(request: &Request, metrics: Arc<Metrics>) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            id: RequestId::of(request),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            // Paths that anyone makes up share one label.
            route: route.map_or("other", MatchedPath::as_str).to_owned(),
            started: Instant::now(),
            status: CLIENT_GONE,
            problem: String::new(),
            account: Account::default(),
            metrics,
        }
    }

    fn end(mut self, response: &Response) {
        self.status = response.status().as_u16();
        let extensions = response.extensions();
        self.account = extensions.get().copied().unwrap_or_default();
        if let Some(problem) = extensions.get::<Problem>() {
            self.problem = problem.kind.type_uri();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        self.metrics.answered(&self.route, self.status);
        if self.route == CLASSIFY {
            self.metrics.classified(total);
        }
        let Account {
            images,
            bytes,
            timings,
        } = self.account;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    method = %self.method,
                    path = self.path,
                    status = self.status,
                    problem = self.problem,
                    images,
                    bytes,
                    decode_ms = ms(timings.decode),
                    queue_ms = ms(timings.queue),
                    forward_ms = ms(timings.forward),
                    total_ms = ms(total),
                    "request"
                )
            };
        }
        if self.route != CLASSIFY {
            // Probes and scrapes come every few seconds and say nothing.
            line!(debug);
        } else if self.status >= 500 {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

/// Milliseconds with two decimals.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}
