//! Messages on the wire: the bodies of requests and responses as streams of
//! messages.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes};
use futures_util::Stream;
use prost::Message;
use tonic::codec::{
    CompressionEncoding, DecodeBuf, Decoder, EncodeBody, EncodeBuf, Encoder,
    SingleMessageCompressionOverride, Streaming,
};
use tonic::{Code, Status};

use crate::http::problem::{Problem, ProblemType};

/// Messages as bytes: the machinery of streams exists once for all methods.
struct Raw;

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

/// The messages of a request, each of at most `most` bytes.
///
/// # Errors
/// A body that is not gRPC, or compressed in an unknown way.
pub(super) fn messages(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Streaming<Bytes>, Problem> {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if !headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
        let detail = "the content type is not application/grpc; use a gRPC client";
        return Err(Problem::new(ProblemType::MalformedRequest, detail));
    }
    let encoding = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => None,
        Some(b"gzip") => Some(CompressionEncoding::Gzip),
        Some(b"deflate") => Some(CompressionEncoding::Deflate),
        Some(_) => {
            let detail = "the compression of the messages is not supported; use gzip or deflate";
            return Err(Problem::new(ProblemType::UnsupportedEncoding, detail));
        }
    };
    Ok(Streaming::new_request(Raw, body, encoding, Some(most)))
}

/// The problem of a body that is not a stream of messages.
pub(super) fn broken(status: &Status) -> Problem {
    let problem_type = match status.code() {
        Code::ResourceExhausted | Code::OutOfRange => ProblemType::BodyTooLarge,
        _ => ProblemType::MalformedRequest,
    };
    let detail = format!("the request is not a gRPC message: {}", status.message());
    Problem::new(problem_type, detail)
}

/// Parses a message.
///
/// # Errors
/// Bytes that are something else.
pub(super) fn parse<M: Message + Default>(bytes: Bytes) -> Result<M, Problem> {
    M::decode(bytes).map_err(|error| {
        let detail = format!("the message cannot be parsed: {error}; use the client's .proto");
        Problem::new(ProblemType::MalformedRequest, detail)
    })
}

/// A response with these messages. An error ends it.
pub(super) fn response<S>(messages: S) -> Response
where
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
{
    let no_override = SingleMessageCompressionOverride::default();
    let body = EncodeBody::new_server(Raw, messages, None, no_override, Some(usize::MAX));
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
