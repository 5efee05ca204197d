//! The outermost layer of every route: the request's id, its line in the access
//! log, its metrics, and the body of a problem.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::problem::Problem;
use crate::core::batch::Timings;
use crate::core::metrics::Metrics;
use crate::core::serving::Serving;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client.
const MAX_ID_LENGTH: usize = 128;

/// The status of a request whose client disconnected before the response, as
/// in nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Identifies a request in its response, in the log and in its problem.
#[derive(Clone, Debug)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    /// The client's id, where it is safe to print, else a new UUID.
    fn of(request: &Request) -> Self {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
        let given = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok());
        match given {
            Some(id) if (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(safe) => {
                Self(id.into())
            }
            _ => Self(Uuid::new_v4().to_string().into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a handler adds to the log line of its request, as an extension of its
/// response.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFields {
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) images: usize,
    pub(super) bytes: usize,
    pub(super) timings: Timings,
}

pub(super) async fn observe(
    State(serving): State<Arc<Serving>>,
    mut request: Request,
    next: Next,
) -> Response {
    let entry = LogEntry::new(&request, Arc::clone(serving.metrics()));
    request.extensions_mut().insert(entry.id.clone());
    let mut response = next.run(request).await;
    write_problem(&mut response, &entry.id);
    if let Ok(id) = HeaderValue::from_str(entry.id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    entry.finish(&response);
    response
}

/// Gives a problem its body, which contains the request's id.
fn write_problem(response: &mut Response, id: &RequestId) {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let json = serde_json::to_vec(&problem.body(id.as_str())).unwrap_or_default();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(json);
    }
}

/// A line of the access log. It is written when it is dropped, so also for a
/// client that disconnects before the response.
struct LogEntry {
    id: RequestId,
    method: Method,
    path: String,
    route: String,
    started: Instant,
    status: u16,
    problem: String,
    fields: LogFields,
    metrics: Arc<Metrics>,
}

impl LogEntry {
    fn new(request: &Request, metrics: Arc<Metrics>) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            id: RequestId::of(request),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            // One label for all unknown paths keeps their number bounded.
            route: route.map_or("other", MatchedPath::as_str).to_owned(),
            started: Instant::now(),
            status: CLIENT_CLOSED_REQUEST,
            problem: String::new(),
            fields: LogFields::default(),
            metrics,
        }
    }

    fn finish(mut self, response: &Response) {
        self.status = response.status().as_u16();
        let extensions = response.extensions();
        self.fields = extensions.get().cloned().unwrap_or_default();
        if let Some(problem) = extensions.get::<Problem>() {
            self.problem = problem.problem_type.type_uri();
        }
    }

    /// Health checks and scrapes, which come every few seconds, and the files of
    /// the pages.
    fn is_probe(&self) -> bool {
        self.route.starts_with("/health/")
            || self.route.starts_with("/assets/")
            || self.route.ends_with("/ready")
            || self.route == "/metrics"
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        self.metrics.responded(&self.route, self.status, total);
        let LogFields {
            model,
            version,
            images,
            bytes,
            timings,
        } = &self.fields;
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    method = %self.method,
                    path = self.path,
                    status = self.status,
                    problem = self.problem,
                    model,
                    version,
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
        if self.is_probe() {
            log!(debug);
        } else if self.status >= 500 {
            log!(warn);
        } else {
            log!(info);
        }
    }
}

/// Milliseconds with two decimals.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}
