//! The span of a request: a child of the caller's span, if the request has the header
//! `traceparent` of W3C Trace Context. The names of its attributes are those of
//! OpenTelemetry's semantic conventions for HTTP servers, as far as they exist. Without a
//! collector there is no span, and each function is one check.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Version, header};
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::held::Held;
use super::protocol::Protocol;
use crate::core::request_metrics::Responded;
use crate::grpc::status::grpc_status;

/// Characters of the longest path and of the longest name of a client program.
const MOST: usize = 256;

/// The span of a request, if traces are exported.
#[derive(Default)]
pub(super) struct Trace {
    span: Option<Span>,
    /// Hexadecimal; empty without a span.
    id: String,
    is_sampled: bool,
}

impl Trace {
    /// The span of a request that begins now.
    pub(super) fn begin(request: &Request, route: &str, protocol: Protocol) -> Self {
        let span = info_span!(
            "request",
            "otel.name" = Empty,
            "otel.kind" = "server",
            "otel.status_code" = Empty,
            "http.request.method" = Empty,
            "http.route" = Empty,
            "url.path" = Empty,
            "network.protocol.version" = Empty,
            "user_agent.original" = Empty,
            "http.request.body.size" = Empty,
            "http.response.status_code" = Empty,
            "error.type" = Empty,
            "rpc.system" = Empty,
            "rpc.service" = Empty,
            "rpc.method" = Empty,
            "rpc.grpc.status_code" = Empty,
            "resnet.protocol" = protocol.name(),
            "resnet.request_id" = Empty,
            "resnet.key" = Empty,
            "resnet.model.name" = Empty,
            "resnet.model.version" = Empty,
            "resnet.images" = Empty,
        );
        if span.is_disabled() {
            return Self::default();
        }
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Without the layer of OpenTelemetry there is no trace to continue.
        let _ = span.set_parent(parent);
        describe(&span, request, route, protocol);
        let context = span.context();
        let found = context.span().span_context().clone();
        Self {
            id: match found.is_valid() {
                true => found.trace_id().to_string(),
                false => String::new(),
            },
            is_sampled: found.is_sampled(),
            span: Some(span),
        }
    }

    /// The id of the trace, for the log; empty without one.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The id of the trace if it is exported, else empty.
    pub(super) fn sampled_id(&self) -> &str {
        match self.is_sampled {
            true => &self.id,
            false => "",
        }
    }

    /// Runs `work` within the span: spans that it makes are its children.
    pub(super) async fn follow<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.span {
            Some(span) => work.instrument(span.clone()).await,
            None => work.await,
        }
    }

    /// The response. The span ends when the last byte of its body has been handed to
    /// the connection.
    pub(super) fn respond(&self, mut response: Response) -> Response {
        let Some(span) = &self.span else {
            return response;
        };
        if let Some(code) = rpc_status(response.headers()) {
            span.record("rpc.grpc.status_code", code);
        }
        if response.body().is_end_stream() {
            return response;
        }
        let sending = Sending {
            respond: info_span!(parent: span, "respond"),
            request: span.clone(),
        };
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::new(Held::new(body, sending));
        response
    }

    /// Adds the outcome of the request.
    pub(super) fn end(&self, response: &Responded<'_>, problem: &str, id: &str, bytes: usize) {
        let Some(span) = &self.span else {
            return;
        };
        let status = response.status;
        // The layer of OpenTelemetry exports unsigned numbers as text.
        span.record("http.response.status_code", i64::from(status));
        span.record("http.request.body.size", bytes as i64);
        span.record("resnet.request_id", id);
        if !problem.is_empty() {
            span.record("error.type", problem);
        }
        // As the conventions require: an error of the client is not one of the server.
        if status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
        if !response.key.is_empty() {
            span.record("resnet.key", response.key);
        }
        if !response.model.is_empty() {
            span.record("resnet.model.name", response.model);
            span.record("resnet.model.version", response.version as i64);
            span.record("resnet.images", response.images as i64);
        }
    }
}

/// The span of reading a body, a child of the request's.
pub(super) fn body() -> Span {
    info_span!("body")
}

/// The attributes that are known from the head of a request.
fn describe(span: &Span, request: &Request, route: &str, protocol: Protocol) {
    let short = |text: &str| -> String { text.chars().take(MOST).collect() };
    let path = request.uri().path();
    let method = known(request.method());
    if protocol == Protocol::Grpc {
        let name = path.trim_start_matches('/');
        let (service, call) = name.split_once('/').unwrap_or((name, ""));
        span.record("otel.name", name);
        span.record("rpc.system", "grpc");
        span.record("rpc.service", service);
        span.record("rpc.method", call);
    } else {
        span.record("otel.name", format!("{method} {route}"));
    }
    span.record("http.request.method", method);
    span.record("http.route", route);
    span.record("url.path", short(path));
    span.record("network.protocol.version", version(request.version()));
    let agent = request.headers().get(header::USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        span.record("user_agent.original", short(agent));
    }
}

/// A method of HTTP; the conventions require one name for all others.
fn known(method: &Method) -> &str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    match KNOWN.contains(method) {
        true => method.as_str(),
        false => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// The headers that a trace is continued from: `traceparent` and `tracestate`.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// The spans that last until a response has been sent.
struct Sending {
    respond: Span,
    request: Span,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.respond = Span::none();
        // A span that has been entered ends when it is left for the last time.
        self.request.in_scope(|| ());
    }
}

/// The status of gRPC. Without one in the headers, it is in the trailers, which follow
/// the messages, and OK is recorded.
fn rpc_status(headers: &HeaderMap) -> Option<i64> {
    let is_grpc = || {
        let content_type = headers.get(header::CONTENT_TYPE)?;
        content_type
            .as_bytes()
            .starts_with(b"application/grpc")
            .then_some(0)
    };
    grpc_status(headers).or_else(is_grpc)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_grpc_response_without_a_status_is_ok() {
        let of = |name: HeaderName, value: &'static str| {
            rpc_status(&HeaderMap::from_iter([(
                name,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(of(header::CONTENT_TYPE, "application/grpc"), Some(0));
        let failed = HeaderMap::from_iter([
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            ),
            (
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("5"),
            ),
        ]);
        assert_eq!(rpc_status(&failed), Some(5));
        assert_eq!(of(header::CONTENT_TYPE, "application/json"), None);
    }
}
