//! Errors in the form of Triton: `{"error": "..."}`, with its status for each.

use axum::http::StatusCode;
use serde::Serialize;

use crate::core::batch::ImageOutput;
use crate::core::error::ErrorClass;
use crate::core::request::Outcome;
use crate::http::call::Call;
use crate::http::dialect::ErrorResponse;
use crate::http::problem::{Problem, ProblemType};
use crate::oip::failure::Failure;

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

/// Renders a problem.
pub(super) fn render(problem: &Problem, _: &str) -> ErrorResponse {
    let error = match problem.problem_type {
        ProblemType::MethodNotAllowed => "Method Not Allowed",
        ProblemType::UnsupportedEncoding => "Unsupported compression type",
        _ => problem.detail(),
    };
    ErrorResponse::json(status(problem), &ErrorBody { error })
}

fn status(problem: &Problem) -> StatusCode {
    use ProblemType as P;
    match problem.problem_type {
        _ if problem.has_dialect_status() => problem.dialect_status(),
        // Triton leaves these to its HTTP library, too.
        P::MethodNotAllowed | P::BodyTimeout | P::UriTooLong | P::HeadTooLarge => {
            problem.dialect_status()
        }
        P::Unauthorized => StatusCode::UNAUTHORIZED,
        P::Forbidden => StatusCode::FORBIDDEN,
        P::NotFound | P::ModelNotFound => StatusCode::NOT_FOUND,
        P::Overloaded
        | P::Starting
        | P::Draining
        | P::ModelUnavailable
        | P::DeviceLost
        | P::Stalled
        | P::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        P::UnsupportedEncoding => StatusCode::NOT_IMPLEMENTED,
        P::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        P::BadParameter
        | P::MalformedRequest
        | P::EmptyImage
        | P::BodyTooLarge
        | P::TooManyImages
        | P::ImageTooLarge
        | P::UnsupportedFormat
        | P::BrokenImage
        | P::NoClassMaps
        | P::AnswerUnchanged
        | P::UrlRefused
        | P::UrlNotFetched => StatusCode::BAD_REQUEST,
    }
}

/// A failure as a problem. The cause of an internal error is logged.
pub(crate) fn problem(call: &Call, failure: &Failure) -> Problem {
    match failure {
        Failure::Invalid(text) => Problem::new(ProblemType::MalformedRequest, text.as_str()),
        Failure::Unsupported(text) => unsupported(text),
        Failure::Core(error) if error.class() == ErrorClass::Internal => call.problem(error),
        Failure::Core(error) => Problem::from(error).with_detail(failure.to_string()),
    }
}

/// A tensor has a row for each image, so the first image without a result is the
/// error of the request.
pub(crate) fn all_or_first_error(
    call: &Call,
    outcomes: Vec<Outcome>,
) -> Result<Vec<ImageOutput>, Problem> {
    let count = outcomes.len();
    let outcomes = outcomes.into_iter().enumerate().map(|(at, outcome)| {
        outcome.map_err(|error| {
            let problem = problem(call, &Failure::Core(error));
            match count {
                1 => problem,
                _ => problem.of_part(&format!("image {} of {count}", at + 1)),
            }
        })
    });
    outcomes.collect()
}

/// An extension that this server does not have.
pub(super) fn unsupported(text: &str) -> Problem {
    Problem::new(ProblemType::NotFound, text).with_status(StatusCode::NOT_IMPLEMENTED)
}
