//! Methods with one request: the body within the limits, the deadline of the
//! client, and the response.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use prost::Message;
use tokio::time::timeout;

use super::frames::{broken, messages, parse, response};
use super::weight::{Fields, weight};
use crate::core::admission::ByteShare;
use crate::core::error::Error;
use crate::core::request::Deadline;
use crate::core::serving::Serving;
use crate::http::body::IncomingBody;
use crate::http::call::{Call, Entered, ImageRequest};
use crate::http::observe::LogFields;
use crate::http::problem::{Problem, ProblemType};

/// The largest request of a method that takes no images.
const SMALL: usize = 1 << 20;

/// How much larger than its bytes the content of gzip and deflate is, at most.
const MOST_INFLATED: usize = 1100;

/// A message with more memory than this is parsed on the thread pool.
const LIGHT: usize = 64 << 10;

/// A method that takes no images.
pub(super) trait Query {
    type Request: Message + Default;
    type Response: Message;

    fn call(
        serving: &Arc<Serving>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Problem>> + Send;
}

/// A method that takes images.
pub(super) trait Infer {
    type Request: Message + Default + 'static;
    type Response: Message;
    /// The fields of the request that are images.
    const FIELDS: Fields;

    fn call(
        inference: Inference<'_>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Problem>> + Send;
}

/// A request with images, whose message has been read.
pub(super) struct Inference<'a> {
    pub(super) call: &'a Call,
    pub(super) entered: &'a Entered,
    /// Counts the bytes of the message.
    pub(super) share: ByteShare,
    pub(super) deadline: Deadline,
    /// What the access log says about it.
    pub(super) fields: &'a mut LogFields,
}

/// The handler of a method that takes no images.
pub(super) async fn query<Q: Query>(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Problem> {
    answer(&serving, request, |message| Q::call(&serving, message)).await
}

/// The response to a request that takes no images, which `call` makes.
pub(super) async fn answer<M, R, F>(
    serving: &Arc<Serving>,
    request: Request,
    call: impl FnOnce(M) -> F,
) -> Result<Response, Problem>
where
    M: Message + Default,
    R: Message,
    F: Future<Output = Result<R, Problem>>,
{
    let (head, body) = request.into_parts();
    let limit = client_timeout(&head.headers)?;
    let work = async {
        let mut limits = serving.limits().clone();
        limits.max_body = limits.max_body.min(SMALL);
        let mut share = serving.admission().bytes();
        let body = IncomingBody::new(&head.headers, body);
        let body = body.read(&limits, &mut share).await?;
        let message = only_message(&head.headers, body, limits.max_body)?;
        call(parse(message)?).await
    };
    let reply = within(limit, work).await?;
    let bytes = Bytes::from(reply.encode_to_vec());
    Ok(response(stream::once(async { Ok(bytes) })))
}

/// The handler of a method that takes images.
pub(super) async fn infer<I: Infer>(request: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let reply = reply::<I>(request, &mut fields).await;
    let mut response = match reply {
        Ok((reply, share)) => response(stream::once(async {
            // Counted until it has been handed to the connection.
            drop(share);
            Ok(reply)
        })),
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(fields);
    response
}

async fn reply<I: Infer>(
    ImageRequest { call, body }: ImageRequest,
    fields: &mut LogFields,
) -> Result<(Bytes, ByteShare), Problem> {
    let limit = client_timeout(&call.headers)?;
    let work = async {
        let entered = call.enter().await?;
        let read = call.read(body, &entered, fields).await?;
        let mut share = read.share;
        let most = call.serving.limits().max_body;
        let message = match call.headers.contains_key("grpc-encoding") {
            false => only_message(&call.headers, read.bytes, most)?,
            true => {
                let length = read.bytes.len();
                share.grow(most.min(length.saturating_mul(MOST_INFLATED)))?;
                let headers = call.headers.clone();
                let inflate = move || only_message(&headers, read.bytes, most);
                let message = call.on_pool(inflate, read.deadline).await??;
                share.shrink_to(length + message.len());
                message
            }
        };
        let mut reply_share = share.sibling();
        let (request, share) = parsed::<I>(&call, message, share, read.deadline).await?;
        let inference = Inference {
            call: &call,
            entered: &entered,
            share,
            deadline: read.deadline,
            fields,
        };
        let reply = I::call(inference, request).await?;
        reply_share.grow(reply.encoded_len())?;
        Ok((Bytes::from(reply.encode_to_vec()), reply_share))
    };
    within(limit, work).await
}

/// Parses a message; one with many fields on the thread pool.
pub(super) async fn parsed<I: Infer>(
    call: &Call,
    message: Bytes,
    mut share: ByteShare,
    deadline: Deadline,
) -> Result<(I::Request, ByteShare), Problem> {
    if let Some(weight) = weight(&message, &I::FIELDS, LIGHT) {
        share.grow(weight)?;
        return Ok((parse(message)?, share));
    }
    let job = move || {
        let weight = weight(&message, &I::FIELDS, usize::MAX);
        share.grow(weight.unwrap_or(usize::MAX))?;
        Ok((parse(message)?, share))
    };
    call.on_pool(job, deadline).await?
}

/// The message of a request that has one.
fn only_message(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, Problem> {
    let mut messages = messages(headers, Body::from(body), most)?;
    // The whole body is there: there is nothing to wait for.
    let message = messages.message().now_or_never();
    let message = message.ok_or_else(Problem::internal)?;
    let message = message.map_err(|status| broken(&status))?;
    message.ok_or_else(|| {
        let detail = "the request has no message; send one";
        Problem::new(ProblemType::MalformedRequest, detail)
    })
}

/// The result of `work` before the deadline of the client, if it has one. Then the
/// images of the request that wait are cancelled.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let Some(limit) = limit else {
        return work.await;
    };
    let exceeded = |_| {
        let seconds = limit.as_secs_f64();
        Problem::from(&Error::DeadlineExceeded { seconds })
    };
    timeout(limit, work).await.map_err(exceeded)?
}

/// How long the client waits for the response, if it says so in `grpc-timeout`: at
/// most eight digits and a unit.
pub(super) fn client_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(parse_timeout);
    parsed.map(Some).ok_or_else(|| {
        let detail =
            "grpc-timeout is invalid; send at most eight digits and one of H, M, S, m, u, n";
        Problem::new(ProblemType::MalformedRequest, detail)
    })
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (at, unit) = text.char_indices().next_back()?;
    let digits = &text[..at];
    let is_number = (1..=8).contains(&at) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit() {
        for (text, expected) in [
            ("250m", Some(Duration::from_millis(250))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("5", None),
            ("+5S", None),
            ("123456789S", None),
            ("5\u{e9}", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
