//! TorchServe's error bodies: the status, the name of an exception, and a
//! message.

use axum::http::StatusCode;
use serde::Serialize;

use super::response::cache_headers;
use crate::http::dialect::ErrorResponse;
use crate::http::problem::{Problem, ProblemType};
use crate::torchserve::failure::VERSION;

/// An error body.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failure<'a> {
    code: u16,
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

/// Renders a problem. An image that cannot be read is the client's error, unlike
/// in TorchServe, whose handler fails with 503.
pub(in crate::http) fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let failure = Failure::of(problem);
    let status = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = serde_json::to_vec_pretty(&failure).unwrap_or_default();
    body.push(b'\n');
    ErrorResponse {
        status,
        content_type: "application/json",
        body,
        headers: cache_headers(),
    }
}

impl<'a> Failure<'a> {
    fn of(problem: &'a Problem) -> Self {
        use ProblemType as P;
        let message = problem.detail();
        let (code, kind, message) = match problem.problem_type {
            // not 401, as in TorchServe
            P::Unauthorized => (400, "InvalidKeyException", message),
            P::Forbidden => (403, "InvalidKeyException", message),
            P::ModelNotFound if message.starts_with(VERSION) => {
                (404, "ModelVersionNotFoundException", message)
            }
            P::ModelNotFound => (404, "ModelNotFoundException", message),
            P::NotFound => (
                404,
                "ResourceNotFoundException",
                "Requested resource is not found, please refer to API document.",
            ),
            P::MethodNotAllowed => (
                405,
                "MethodNotAllowedException",
                "Requested method is not allowed, please refer to API document.",
            ),
            P::BodyTimeout => (408, "RequestTimeoutException", message),
            P::BadParameter if problem.dialect_status() == StatusCode::CONFLICT => {
                (409, "ConflictStatusException", message)
            }
            P::BodyTooLarge | P::TooManyImages | P::ImageTooLarge => {
                (413, "BadRequestException", message)
            }
            P::Internal => (500, "InternalServerException", message),
            P::Overloaded
            | P::Starting
            | P::Draining
            | P::ModelUnavailable
            | P::DeviceLost
            | P::Stalled
            | P::DeadlineExceeded => (503, "ServiceUnavailableException", message),
            _ => (400, "BadRequestException", message),
        };
        Self {
            code,
            kind,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Error;
    use crate::torchserve::failure::words;

    fn rendered(error: &Error) -> (u16, serde_json::Value) {
        let problem = Problem::from(error);
        let problem = match words(error) {
            Some(words) => problem.with_detail(words),
            None => problem,
        };
        let response = render(&problem, "");
        let json = serde_json::from_slice(&response.body).unwrap();
        (response.status.as_u16(), json)
    }

    #[test]
    fn errors_have_the_statuses_and_names_of_torchserve() {
        let name = || "cat".to_owned();
        for (error, code, kind, message) in [
            (
                Error::UnknownModel { name: name() },
                404,
                "ModelNotFoundException",
                "Model not found: cat",
            ),
            (
                Error::unknown_version("cat", 2, [1].into_iter()),
                404,
                "ModelVersionNotFoundException",
                "Model version: 2 does not exist for model: cat",
            ),
            (
                Error::QueueFull,
                503,
                "ServiceUnavailableException",
                "queue",
            ),
            (Error::Stopped, 500, "InternalServerException", ""),
            (
                Error::Image(preprocess::ImageError::Empty),
                400,
                "BadRequestException",
                "",
            ),
        ] {
            let (status, json) = rendered(&error);
            assert_eq!((status, json["code"].as_u64()), (code, Some(code.into())));
            assert_eq!(json["type"], kind);
            let found = json["message"].as_str().unwrap();
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn a_body_is_indented_and_ends_with_a_newline() {
        let problem = Problem::new(ProblemType::NotFound, "there is no route");
        let response = render(&problem, "");
        assert_eq!(
            String::from_utf8(response.body).unwrap(),
            "{\n  \"code\": 404,\n  \"type\": \"ResourceNotFoundException\",\n  \"message\": \
             \"Requested resource is not found, please refer to API document.\"\n}\n"
        );
    }
}
