//! The types of problems: status, stable name and title.

use axum::http::StatusCode;

/// The types of problems. Each has its own status, title and URI. A status of
/// 500 or more means that the error is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the titles below say what each one is")]
pub enum ProblemType {
    BadParameter,
    MalformedRequest,
    EmptyImage,
    UrlRefused,
    Unauthorized,
    Forbidden,
    NotFound,
    ModelNotFound,
    MethodNotAllowed,
    BodyTimeout,
    AnswerUnchanged,
    BodyTooLarge,
    TooManyImages,
    ImageTooLarge,
    UriTooLong,
    UnsupportedFormat,
    UnsupportedEncoding,
    BrokenImage,
    NoClassMaps,
    UrlNotFetched,
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
    pub const ALL: [Self; 29] = [
        Self::BadParameter,
        Self::MalformedRequest,
        Self::EmptyImage,
        Self::UrlRefused,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::ModelNotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::AnswerUnchanged,
        Self::BodyTooLarge,
        Self::TooManyImages,
        Self::ImageTooLarge,
        Self::UriTooLong,
        Self::UnsupportedFormat,
        Self::UnsupportedEncoding,
        Self::BrokenImage,
        Self::NoClassMaps,
        Self::UrlNotFetched,
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
            Self::UrlRefused => (S::BAD_REQUEST, "url-refused", "Image URL refused"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "No valid API key"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::ModelNotFound => (S::NOT_FOUND, "model-not-found", "No such model"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body-timeout", "Body timeout"),
            Self::AnswerUnchanged => (
                S::PRECONDITION_FAILED,
                "answer-unchanged",
                "Answer unchanged",
            ),
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
            Self::UrlNotFetched => (
                S::UNPROCESSABLE_ENTITY,
                "url-not-fetched",
                "Image not fetched",
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

#[cfg(test)]
mod tests {
    use super::*;

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
