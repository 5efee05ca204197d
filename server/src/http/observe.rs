//! The outermost layer of every route: the request's id, its line in the access
//! log, its metrics, and the body of a problem in the form of the route's dialect.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::access::KeyName;
use super::body::IncomingBody;
use super::dialect::{Dialect, NATIVE};
use super::problem::{Problem, ProblemType};
use super::protocol::Protocol;
use super::trace::Trace;
use super::unread;
use crate::core::cache::lookup::Lookup;
use crate::core::metrics::Metrics;
use crate::core::request_metrics::Responded;
use crate::core::serving::Serving;
use crate::core::statistics::Timings;
use crate::grpc::status::http_status;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client.
const MAX_ID_LENGTH: usize = 128;

/// Characters of the longest path in the log.
const MAX_PATH: usize = 256;

/// The status of a request whose client disconnected before the response, as
/// in nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Identifies a request in its response, in the log and in its problem.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

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
            _ => Self::new(),
        }
    }

    fn new() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a handler adds to the log line of its request, as an extension of its
/// response.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) model: String,
    pub(crate) version: u64,
    pub(crate) images: usize,
    pub(crate) bytes: usize,
    pub(crate) timings: Timings,
    /// What the cache found for the images, and their greatest age.
    pub(crate) cache: Option<(Lookup, Duration)>,
}

/// What the layer of a router knows.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) serving: Arc<Serving>,
    pub(crate) dialect: Dialect,
}

pub(crate) async fn observe(
    State(Observed { serving, dialect }): State<Observed>,
    mut request: Request,
    next: Next,
) -> Response {
    let metrics = Arc::clone(serving.metrics());
    let entry = LogEntry::new(&request, metrics, dialect.protocol);
    request.extensions_mut().insert(entry.id.clone());
    let response = entry.trace.follow(next.run(request)).await;
    let share = match is_probe(&entry.route) {
        true => serving.admission().probe_bytes(),
        false => serving.admission().bytes(),
    };
    let counted = unread::counted(response, share);
    let mut response = counted.unwrap_or_else(|error| Problem::from(error).into_response());
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let problem = method_not_allowed(&entry.method, &entry.path);
        response.extensions_mut().insert(problem);
    }
    write_problem(&mut response, &entry.id, dialect);
    if let Ok(id) = HeaderValue::from_str(entry.id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let response = entry.trace.respond(response);
    entry.finish(&response);
    response
}

/// The router adds the `Allow` header.
fn method_not_allowed(method: &Method, path: &str) -> Problem {
    let detail = format!("{path} does not support {method}; use a method of the Allow header");
    Problem::new(ProblemType::MethodNotAllowed, detail)
}

/// The bytes of a response to a request that never reached a route, with its log
/// line and its metrics. The connection is closed after it.
pub(crate) fn refused(metrics: &Arc<Metrics>, problem: &Problem) -> Vec<u8> {
    let id = RequestId::new();
    let rendered = (NATIVE.render)(problem, id.as_str());
    let (status, body) = (rendered.status, rendered.body);
    let retry = problem.retry_after.map(|wait| wait.as_secs());
    let retry = retry.map_or(String::new(), |wait| format!("retry-after: {wait}\r\n"));
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\
         {REQUEST_ID}: {}\r\n{retry}connection: close\r\ndate: {}\r\n\r\n",
        rendered.content_type,
        body.len(),
        id.as_str(),
        httpdate::fmt_http_date(SystemTime::now()),
    );
    drop(LogEntry {
        id,
        method: Method::default(),
        path: String::new(),
        route: "other".to_owned(),
        protocol: NATIVE.protocol,
        key: String::new(),
        started: Instant::now(),
        status: status.as_u16(),
        problem: problem.problem_type.type_uri(),
        is_of_key: problem.is_of_key,
        fields: LogFields::default(),
        metrics: Arc::clone(metrics),
        trace: Trace::default(),
    });
    [head.into_bytes(), body].concat()
}

/// A problem that was found before the routes: the extension of a request that
/// must not be served.
#[derive(Clone)]
pub(crate) struct Rejected(pub(crate) Problem);

/// Answers a request that was rejected before the routes.
pub(crate) async fn reject(mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove::<Rejected>() {
        Some(Rejected(problem)) => refuse(request, problem),
        None => next.run(request).await,
    }
}

/// The response to a request that is not served. The rest of its body is thrown away
/// while the client reads the response.
pub(super) fn refuse(request: Request, problem: Problem) -> Response {
    let (head, body) = request.into_parts();
    drop(IncomingBody::new(&head.headers, body));
    problem.into_response()
}

/// Gives a problem its status and its body.
fn write_problem(response: &mut Response, id: &RequestId, dialect: Dialect) {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let rendered = (dialect.render)(problem, id.as_str());
        *response.status_mut() = rendered.status;
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        let content_type = HeaderValue::from_static(rendered.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.extend(rendered.headers);
        *response.body_mut() = Body::from(rendered.body);
    }
}

/// A line of the access log. It is written when it is dropped, so also for a
/// client that disconnects before the response.
struct LogEntry {
    id: RequestId,
    method: Method,
    path: String,
    route: String,
    protocol: Protocol,
    /// The name of the caller's key.
    key: String,
    started: Instant,
    status: u16,
    problem: String,
    is_of_key: bool,
    fields: LogFields,
    metrics: Arc<Metrics>,
    trace: Trace,
}

impl LogEntry {
    fn new(request: &Request, metrics: Arc<Metrics>, protocol: Protocol) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        // One label for all unknown paths keeps their number bounded.
        let route = route.map_or("other", MatchedPath::as_str).to_owned();
        Self {
            trace: match is_probe(&route) {
                true => Trace::default(),
                false => Trace::begin(request, &route, protocol),
            },
            id: RequestId::of(request),
            method: request.method().clone(),
            path: request.uri().path().chars().take(MAX_PATH).collect(),
            route,
            protocol,
            key: String::new(),
            started: Instant::now(),
            status: CLIENT_CLOSED_REQUEST,
            problem: String::new(),
            is_of_key: false,
            fields: LogFields::default(),
            metrics,
        }
    }

    fn finish(mut self, response: &Response) {
        let status = response.status().as_u16();
        self.status = http_status(response.headers()).unwrap_or(status);
        let extensions = response.extensions();
        self.fields = extensions.get().cloned().unwrap_or_default();
        if let Some(KeyName(name)) = extensions.get() {
            self.key.clone_from(name);
        }
        if let Some(problem) = extensions.get::<Problem>() {
            self.problem = problem.problem_type.type_uri();
            self.is_of_key = problem.is_of_key;
        }
    }
}

impl LogFields {
    /// Adds a request that ran on a model to the sums of the model.
    pub(crate) fn count(&self, metrics: &Metrics, total: Duration) {
        if self.images > 0 {
            let times = [total, self.timings.queue];
            metrics.totals.add(&self.model, self.version, times);
        }
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        let protocol = self.protocol.name();
        let LogFields {
            model,
            version,
            images,
            bytes,
            timings,
            cache: _,
        } = &self.fields;
        let response = Responded {
            protocol,
            route: &self.route,
            status: self.status,
            took: total,
            model,
            version: *version,
            images: *images,
            key: &self.key,
            is_of_key: self.is_of_key,
            trace_id: self.trace.sampled_id(),
        };
        self.metrics.responded(&response);
        self.trace
            .end(&response, &self.problem, self.id.as_str(), *bytes);
        self.fields.count(&self.metrics, total);
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    trace_id = self.trace.id(),
                    method = %self.method,
                    path = self.path,
                    protocol,
                    key = self.key,
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
        if is_probe(&self.route) {
            log!(debug);
        } else if self.status >= 500 {
            log!(warn);
        } else {
            log!(info);
        }
    }
}

/// Health checks and scrapes, which come every few seconds, by route or path, and
/// the files of the pages.
pub(crate) fn is_probe(path: &str) -> bool {
    path.starts_with("/health")
        || path.starts_with("/v2/health/")
        || path == "/ping"
        || is_health_method(path)
        || path.starts_with("/assets/")
        || path.ends_with("/ready")
        || path == "/metrics"
}

/// Milliseconds with two decimals.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

/// Health checks over gRPC.
fn is_health_method(path: &str) -> bool {
    const READY: [&str; 3] = ["ServerLive", "ServerReady", "ModelReady"];
    match path.strip_prefix("/inference.GRPCInferenceService/") {
        Some(method) => READY.contains(&method),
        None => {
            path.starts_with("/grpc.health.v1.Health/")
                || path == "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping"
        }
    }
}
