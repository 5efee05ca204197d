//! The status codes of gRPC, and how an error becomes a response.

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, header};
use tonic::{Code, Status};

use crate::http::dialect::ErrorResponse;
use crate::http::problem::{Problem, ProblemType};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The code of an error.
const fn code(problem: ProblemType) -> Code {
    use ProblemType as P;
    match problem {
        P::BadParameter
        | P::MalformedRequest
        | P::EmptyImage
        | P::TooManyImages
        | P::ImageTooLarge
        | P::UnsupportedFormat
        | P::BrokenImage
        | P::NoClassMaps
        | P::UrlRefused
        | P::UrlNotFetched
        | P::UriTooLong
        | P::HeadTooLarge => Code::InvalidArgument,
        P::AnswerUnchanged => Code::FailedPrecondition,
        P::Unauthorized => Code::Unauthenticated,
        P::Forbidden => Code::PermissionDenied,
        P::ModelNotFound => Code::NotFound,
        // Clients take it for a service or a method that the server lacks.
        P::NotFound | P::MethodNotAllowed | P::UnsupportedEncoding => Code::Unimplemented,
        P::BodyTooLarge | P::Overloaded => Code::ResourceExhausted,
        // Clients send the request again.
        P::Starting | P::Draining | P::ModelUnavailable | P::DeviceLost | P::Stalled => {
            Code::Unavailable
        }
        P::DeadlineExceeded | P::BodyTimeout => Code::DeadlineExceeded,
        P::Internal => Code::Internal,
    }
}

/// An error of a method as a status.
pub(super) fn status(problem: &Problem) -> Status {
    let code = match problem.dialect_status() {
        StatusCode::PRECONDITION_FAILED => Code::FailedPrecondition,
        _ => code(problem.problem_type),
    };
    Status::new(code, problem.detail())
}

/// An error as a response without messages.
pub(super) fn render(problem: &Problem, _request_id: &str) -> ErrorResponse {
    let status = status(problem);
    let mut headers = HeaderMap::new();
    // Fails only for a message that is no header, and it is encoded.
    let _ = status.add_header(&mut headers);
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .filter(|(name, _)| [STATUS, MESSAGE].contains(name));
    ErrorResponse {
        status: StatusCode::OK,
        content_type: "application/grpc",
        body: Vec::new(),
        headers: headers.collect(),
    }
}

/// The code in the head of a response of gRPC.
fn code_of(headers: &HeaderMap) -> Option<Code> {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        return None;
    }
    Some(Code::from_bytes(headers.get(STATUS)?.as_bytes()))
}

/// The number of the code in the head of a response of gRPC, for traces.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<i64> {
    code_of(headers).map(|code| i64::from(i32::from(code)))
}

/// The status of HTTP that means the same, for metrics and the log.
pub(crate) fn http_status(headers: &HeaderMap) -> Option<u16> {
    Some(match code_of(headers)? {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_codes_that_clients_act_on() {
        for (problem, code, http) in [
            (ProblemType::MalformedRequest, "3", 400),
            (ProblemType::ModelNotFound, "5", 404),
            (ProblemType::Overloaded, "8", 429),
            (ProblemType::BodyTooLarge, "8", 429),
            (ProblemType::NotFound, "12", 501),
            (ProblemType::Draining, "14", 503),
            (ProblemType::DeadlineExceeded, "4", 504),
            (ProblemType::Internal, "13", 500),
        ] {
            let response = render(&Problem::new(problem, "caf\u{e9}: why"), "id");
            assert_eq!(response.status, StatusCode::OK);
            let mut headers: HeaderMap = response.headers.into_iter().collect();
            assert_eq!(headers[STATUS], code, "{problem:?}");
            assert_eq!(headers[MESSAGE], "caf%C3%A9:%20why");
            let content_type = HeaderValue::from_static(response.content_type);
            assert_eq!(http_status(&headers), None);
            headers.insert(header::CONTENT_TYPE, content_type);
            assert_eq!(http_status(&headers), Some(http));
        }
    }
}
