//! Errors as HTTP responses: RFC 9457 problem details with a stable type, a
//! title, and a detail that says what to do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use preprocess::ImageError;

pub use super::problem_type::ProblemType;
use crate::core::error::Error;

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
    /// Whether the caller's API key is at a limit of its own.
    pub is_of_key: bool,
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
            is_of_key: false,
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
    /// of [`Problem::with_status`], else the one of the type, but 503 for 429. A key that
    /// is at a limit of its own is answered 429.
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
        if self.problem_type == ProblemType::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
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
            Error::TooManyInFlight { .. }
            | Error::KeyRate { .. }
            | Error::KeyInFlight { .. }
            | Error::BodyMemory { .. }
            | Error::QueueFull => P::Overloaded,
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
        // The server has room; other servers' 503 would say that it has none.
        let is_of_key = matches!(error, Error::KeyRate { .. } | Error::KeyInFlight { .. });
        Self {
            retry_after: error.retry_after(),
            is_of_key,
            dialect_status: is_of_key.then_some(StatusCode::TOO_MANY_REQUESTS),
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
    fn a_dialect_tells_a_full_server_from_a_key_at_its_limit() {
        let full = Problem::from(&Error::QueueFull);
        assert_eq!(full.dialect_status(), StatusCode::SERVICE_UNAVAILABLE);
        let of_key = Problem::from(&Error::KeyRate {
            key: "shop".into(),
            limit: 1,
            wait: Duration::from_secs(1),
        });
        assert_eq!(of_key.dialect_status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(of_key.retry_after.is_some());
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
}
