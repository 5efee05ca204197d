//! Errors as HTTP responses: RFC 9457 problem details with a stable type, a
//! title, and a detail that says what to do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use preprocess::ImageError;

use crate::core::error::Error;

/// The types of problems. Each has its own status, title and URI. A status of
/// 500 or more means that the error is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the titles below say what each one is")]
pub enum ProblemType {
    BadParameter,
    MalformedRequest,
    EmptyImage,
    NotFound,
    ModelNotFound,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    TooManyImages,
    ImageTooLarge,
    UriTooLong,
    UnsupportedFormat,
    UnsupportedEncoding,
    BrokenImage,
    NoClassMaps,
    Overloaded,
    HeadTooLarge,
    Internal,
    Starting,
    Draining,
    ModelUnavailable,
    DeviceLost,
    Stalled,
    DeadlineExceeded,
}

impl ProblemType {
    /// All of them, in the order of their status.
    pub const ALL: [Self; 24] = [
        Self::BadParameter,
        Self::MalformedRequest,
        Self::EmptyImage,
        Self::NotFound,
        Self::ModelNotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::TooManyImages,
        Self::ImageTooLarge,
        Self::UriTooLong,
        Self::UnsupportedFormat,
        Self::UnsupportedEncoding,
        Self::BrokenImage,
        Self::NoClassMaps,
        Self::Overloaded,
        Self::HeadTooLarge,
        Self::Internal,
        Self::Starting,
        Self::Draining,
        Self::ModelUnavailable,
        Self::DeviceLost,
        Self::Stalled,
        Self::DeadlineExceeded,
    ];

    /// Status, name and title. A name never changes once published: it is the
    /// end of the problem's type.
    const fn metadata(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadParameter => (S::BAD_REQUEST, "bad-parameter", "Bad query parameter"),
            Self::MalformedRequest => (S::BAD_REQUEST, "malformed-request", "Malformed request"),
            Self::EmptyImage => (S::BAD_REQUEST, "empty-image", "Empty image"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::ModelNotFound => (S::NOT_FOUND, "model-not-found", "No such model"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body-timeout", "Body timeout"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::TooManyImages => (S::PAYLOAD_TOO_LARGE, "too-many-images", "Too many images"),
            Self::ImageTooLarge => (S::PAYLOAD_TOO_LARGE, "image-too-large", "Image too large"),
            Self::UriTooLong => (S::URI_TOO_LONG, "uri-too-long", "URI too long"),
            Self::UnsupportedFormat => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-format",
                "Unsupported image format",
            ),
            Self::UnsupportedEncoding => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-encoding",
                "Unsupported content encoding",
            ),
            Self::BrokenImage => (S::UNPROCESSABLE_ENTITY, "broken-image", "Broken image"),
            Self::NoClassMaps => (
                S::UNPROCESSABLE_ENTITY,
                "no-class-maps",
                "No class activation maps",
            ),
            Self::Overloaded => (S::TOO_MANY_REQUESTS, "overloaded", "Too many requests"),
            Self::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "Request headers too large",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Starting => (S::SERVICE_UNAVAILABLE, "starting", "Still loading"),
            Self::Draining => (S::SERVICE_UNAVAILABLE, "draining", "Shutting down"),
            Self::ModelUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "model-unavailable",
                "Model unavailable",
            ),
            Self::DeviceLost => (S::SERVICE_UNAVAILABLE, "device-lost", "Device lost"),
            Self::Stalled => (S::SERVICE_UNAVAILABLE, "stalled", "No progress"),
            Self::DeadlineExceeded => {
                (S::GATEWAY_TIMEOUT, "deadline-exceeded", "Deadline exceeded")
            }
        }
    }

    /// The status it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.metadata().0
    }

    /// Its stable type: a link to its paragraph in `/docs`.
    #[must_use]
    pub fn type_uri(self) -> String {
        format!("/docs#{}", self.metadata().1)
    }

    /// Its title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.metadata().2
    }
}

/// Characters of the longest detail. A detail may quote what the client sent,
/// which may be an upload of megabytes.
const LONGEST_DETAIL: usize = 500;

/// A problem with a request, or with one image of it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which type of problem.
    pub problem_type: ProblemType,
    /// What is wrong with this request, and what to do about it.
    detail: String,
    /// How long the client should wait before a retry, where one can help.
    pub retry_after: Option<Duration>,
    /// The status in a dialect, where it is not the one of the type.
    dialect_status: Option<StatusCode>,
}

/// The JSON body of an error response (RFC 9457). The order of the keys is the
/// one in `openapi.yaml`.
#[derive(Serialize)]
pub struct ProblemBody<'a> {
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem {
    /// A problem of this type that a retry does not cure. A long detail is
    /// shortened in the middle: its end says what to do.
    #[must_use]
    pub fn new(problem_type: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            problem_type,
            detail: shortened(detail.into(), LONGEST_DETAIL),
            retry_after: None,
            dialect_status: None,
        }
    }

    /// The same problem, which a dialect answers with this status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self {
            dialect_status: Some(status),
            ..self
        }
    }

    /// The status in a dialect whose server answers 503 when its queue is full: that
    /// of [`Problem::with_status`], else the one of the type, but 503 for 429.
    #[must_use]
    pub fn dialect_status(&self) -> StatusCode {
        let default = || match self.problem_type {
            ProblemType::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            other => other.status(),
        };
        self.dialect_status.unwrap_or_else(default)
    }

    /// Whether a handler chose the status with [`Problem::with_status`].
    #[must_use]
    pub fn has_dialect_status(&self) -> bool {
        self.dialect_status.is_some()
    }

    /// The same problem in other words.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: shortened(detail.into(), LONGEST_DETAIL),
            ..self
        }
    }

    /// The same problem, as that of a part of the request.
    #[must_use]
    pub fn of_part(self, part: &str) -> Self {
        let detail = format!("{part}: {}", self.detail);
        self.with_detail(detail)
    }

    /// A query parameter that is unknown or has an invalid value.
    #[must_use]
    pub fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::BadParameter, detail)
    }

    /// The server is at a limit; a retry can succeed.
    #[must_use]
    pub fn overloaded(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(ProblemType::Overloaded, detail)
        }
    }

    /// An internal error. The log has its cause, under the request's id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ProblemType::Internal,
            "the server failed to process this request; its log has the cause under this request_id",
        )
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body of the response.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            type_uri: self.problem_type.type_uri(),
            title: self.problem_type.title(),
            status: self.problem_type.status().as_u16(),
            detail: &self.detail,
            request_id,
        }
    }
}

/// The text with at most `most` characters.
fn shortened(text: String, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text;
    }
    let tail = most / 2;
    let head = most - tail - 3;
    let start = text.chars().take(head);
    let end = text.chars().skip(length - tail);
    start.chain("...".chars()).chain(end).collect()
}

/// A response that carries the problem as an extension: the outermost layer,
/// which knows the request's id, writes the body (see `http::observe`).
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.problem_type.status().into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if self.problem_type == ProblemType::UnsupportedEncoding {
            let codings = HeaderValue::from_static("gzip, deflate, br, zstd");
            headers.insert(header::ACCEPT_ENCODING, codings);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, wait.as_secs().into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        use ProblemType as P;
        let problem_type = match error {
            Error::Image(ImageError::Empty) => P::EmptyImage,
            Error::Image(ImageError::Unsupported { .. } | ImageError::Text { .. }) => {
                P::UnsupportedFormat
            }
            Error::Image(ImageError::TooLarge { .. }) => P::ImageTooLarge,
            Error::Image(_) => P::BrokenImage,
            Error::Base64(_) | Error::InputSize { .. } | Error::InputValues(_) => {
                P::MalformedRequest
            }
            Error::UnknownLabel { .. }
            | Error::AmbiguousLabel { .. }
            | Error::ModelExists { .. } => P::BadParameter,
            Error::ClassMaps(_) => P::NoClassMaps,
            Error::UnknownModel { .. } | Error::UnknownVersion { .. } => P::ModelNotFound,
            Error::TooManyInFlight { .. } | Error::BodyMemory { .. } | Error::QueueFull => {
                P::Overloaded
            }
            Error::TooManyImages { .. } => P::TooManyImages,
            Error::DeadlineExceeded { .. } => P::DeadlineExceeded,
            Error::Starting { .. } => P::Starting,
            Error::Draining => P::Draining,
            Error::ModelUnavailable { .. } => P::ModelUnavailable,
            Error::DeviceLost { .. } => P::DeviceLost,
            Error::Stalled { .. } => P::Stalled,
            Error::Device(_)
            | Error::Forward(_)
            | Error::Logits { .. }
            | Error::FeatureMap { .. }
            | Error::Embedding { .. }
            | Error::Png(_)
            | Error::Panicked(_)
            | Error::Stopped => return Self::internal(),
        };
        Self {
            retry_after: error.retry_after(),
            ..Self::new(problem_type, error.to_string())
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order() {
        let problem = Problem::new(ProblemType::EmptyImage, "send an image");
        assert_eq!(
            serde_json::to_string(&problem.body("r1")).unwrap(),
            r#"{"type":"/docs#empty-image","title":"Empty image","status":400,"detail":"send an image","request_id":"r1"}"#
        );
    }

    #[test]
    fn a_detail_is_short_whatever_it_quotes() {
        let long = format!("`{}` is wrong; do this", "ä".repeat(1_000_000));
        let detail = Problem::new(ProblemType::BadParameter, long).detail;
        assert_eq!(detail.chars().count(), LONGEST_DETAIL);
        assert!(detail.starts_with("`ää") && detail.ends_with("ää` is wrong; do this"));
        let exact = "x".repeat(LONGEST_DETAIL);
        assert_eq!(
            Problem::new(ProblemType::BadParameter, exact.as_str()).detail,
            exact
        );
    }

    #[test]
    fn type_uris_are_distinct_anchors_of_the_docs() {
        let mut types = ProblemType::ALL.map(ProblemType::type_uri);
        types.sort_unstable();
        assert!(types.windows(2).all(|pair| pair[0] != pair[1]));
        for uri in types {
            let name = uri.strip_prefix("/docs#").unwrap();
            assert!(!name.is_empty() && name.chars().all(|c| c == '-' || c.is_ascii_lowercase()));
        }
    }
}
