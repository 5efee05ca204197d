//! Everything that can go wrong with a request, as RFC 9457 problems: a stable
//! type, a title, and a detail that says what to do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::classifier::Failure;
use crate::photo::PhotoError;

/// The kinds of problem, each with a status, a title and a type of its own.
/// A status of 500 or more says that the fault is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the titles below say what each one is")]
pub enum Kind {
    BadParameter,
    MalformedRequest,
    EmptyImage,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    TooManyImages,
    ImageTooLarge,
    UnsupportedFormat,
    BrokenImage,
    Overloaded,
    Internal,
    Starting,
    Draining,
    DeviceLost,
    DeadlineExceeded,
}

impl Kind {
    /// All of them, in the order of their status.
    pub const ALL: [Self; 17] = [
        Self::BadParameter,
        Self::MalformedRequest,
        Self::EmptyImage,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::TooManyImages,
        Self::ImageTooLarge,
        Self::UnsupportedFormat,
        Self::BrokenImage,
        Self::Overloaded,
        Self::Internal,
        Self::Starting,
        Self::Draining,
        Self::DeviceLost,
        Self::DeadlineExceeded,
    ];

    /// Status, name and title. A name never changes once published: it is the
    /// end of the problem's type.
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadParameter => (S::BAD_REQUEST, "bad-parameter", "Bad query parameter"),
            Self::MalformedRequest => (S::BAD_REQUEST, "malformed-request", "Malformed request"),
            Self::EmptyImage => (S::BAD_REQUEST, "empty-image", "Empty image"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "No such page"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::BodyTimeout => (
                S::REQUEST_TIMEOUT,
                "body-timeout",
                "The body came too slowly",
            ),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::TooManyImages => (S::PAYLOAD_TOO_LARGE, "too-many-images", "Too many images"),
            Self::ImageTooLarge => (S::PAYLOAD_TOO_LARGE, "image-too-large", "Image too large"),
            Self::UnsupportedFormat => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-format",
                "Unsupported image format",
            ),
            Self::BrokenImage => (S::UNPROCESSABLE_ENTITY, "broken-image", "Broken image"),
            Self::Overloaded => (S::TOO_MANY_REQUESTS, "overloaded", "Too many requests"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Starting => (S::SERVICE_UNAVAILABLE, "starting", "Starting"),
            Self::Draining => (S::SERVICE_UNAVAILABLE, "draining", "Shutting down"),
            Self::DeviceLost => (S::SERVICE_UNAVAILABLE, "device-lost", "Device lost"),
            Self::DeadlineExceeded => {
                (S::GATEWAY_TIMEOUT, "deadline-exceeded", "Deadline exceeded")
            }
        }
    }

    /// The status it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// Its stable type: a link to its paragraph in `/docs`.
    #[must_use]
    pub fn type_uri(self) -> String {
        format!("/docs#{}", self.facts().1)
    }

    /// Its title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// How long a client should wait before it tries again, where that helps.
    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overloaded | Self::Starting => Some(Duration::from_secs(1)),
            Self::Draining | Self::DeviceLost => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// A problem with one request, or with one image of it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which.
    pub kind: Kind,
    /// What happened here, and what to do about it.
    pub detail: String,
}

/// The JSON of a problem. The order of the keys is part of the contract.
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
    /// A problem of `kind`.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    /// An internal error. What it was is in the log, under the request's id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "this request failed on our side; the server's log says why under this request_id",
        )
    }

    /// What is sent to the client.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            type_uri: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            request_id,
        }
    }
}

/// A response that carries the problem itself: the outermost layer, which
/// knows the request's id, writes the body (see `http::observe`).
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if let Some(wait) = self.kind.retry_after() {
            headers.insert(header::RETRY_AFTER, wait.as_secs().into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&PhotoError> for Problem {
    fn from(error: &PhotoError) -> Self {
        let kind = match error {
            PhotoError::Empty => Kind::EmptyImage,
            PhotoError::Unsupported { .. } => Kind::UnsupportedFormat,
            PhotoError::TooLarge { .. } => Kind::ImageTooLarge,
            PhotoError::Broken { .. } => Kind::BrokenImage,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Photo(error) => error.into(),
            Failure::Base64(_) => Self::new(Kind::MalformedRequest, failure.to_string()),
            Failure::Overloaded => Self::new(
                Kind::Overloaded,
                format!("{failure}; try again after the time in Retry-After"),
            ),
            Failure::Device(_)
            | Failure::Forward(_)
            | Failure::Logits { .. }
            | Failure::Panicked(_)
            | Failure::Stopped => Self::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order() {
        let problem = Problem::new(Kind::EmptyImage, "send a photo");
        assert_eq!(
            serde_json::to_string(&problem.body("r1")).unwrap(),
            r#"{"type":"/docs#empty-image","title":"Empty image","status":400,"detail":"send a photo","request_id":"r1"}"#
        );
    }

    #[test]
    fn types_are_distinct() {
        let mut types = Kind::ALL.map(Kind::type_uri);
        types.sort_unstable();
        assert!(types.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(types.iter().all(|uri| uri.starts_with("")));
    }
}
