//! Methods with a stream of requests, each of which has its own response, in order.
//! An error of a request does not end the stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message;
use tracing::{Instrument, Span};

use super::frames::{broken, response};
use super::status::status;
use super::streams::{Requests, ended, until, until_error};
use super::unary::{Infer, Inference, client_timeout, parsed};
use crate::core::admission::ByteShare;
use crate::core::request::Deadline;
use crate::core::request_metrics::Responded;
use crate::core::serving::Serving;
use crate::http::call::Call;
use crate::http::observe::{LogFields, RequestId};
use crate::http::problem::Problem;
use crate::http::protocol::Protocol;

/// Requests of a stream that run at the same time.
const CONCURRENT: usize = 16;

/// A method with a stream of requests.
pub(super) trait Exchange {
    /// What is done for each request.
    type Method: Infer;
    type Response: Message;

    /// The id of a request, which its response repeats if the request fails.
    fn id(request: &<Self::Method as Infer>::Request) -> String;

    /// The response to a request.
    fn response(
        result: Result<<Self::Method as Infer>::Response, (Problem, String)>,
    ) -> Self::Response;
}

/// The handler of such a method.
pub(super) async fn exchange<E: Exchange + 'static>(
    State(serving): State<Arc<Serving>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = client_timeout(request.headers())?;
    let most = serving.limits().max_body;
    let (requests, head) = Requests::new(request, &serving, most)?;
    let Requests {
        messages,
        arriving,
        stopping,
    } = requests;
    let call = Arc::new(Call::new(serving, head, id));
    // The body is polled after the handler has returned.
    let span = Span::current();
    let responses = until_error(messages)
        .enumerate()
        .map(move |(index, message)| {
            let (call, share) = (Arc::clone(&call), arriving.take());
            let respond = async move {
                let message = message.map_err(|error| status(&broken(&error)))?;
                let waiting = share.sibling();
                let began = Instant::now();
                let mut fields = LogFields::default();
                let result = infer::<E>(&call, index, message, share, &mut fields).await;
                let problem = result.as_ref().err().map(|(problem, _)| problem);
                count_message(&call, problem, &fields, began.elapsed());
                // Counted while it is queued and until the client has read it.
                Ok(waiting.hold(E::response(result).encode_to_vec()))
            };
            respond.instrument(span.clone())
        });
    let responses = responses.buffered(CONCURRENT);
    let responses = responses.chain(stream::once(ended(stopping)).filter_map(async |end| end));
    Ok(response(until(limit, responses)))
}

async fn infer<E: Exchange>(
    call: &Call,
    index: usize,
    message: Bytes,
    mut share: ByteShare,
    fields: &mut LogFields,
) -> Result<<E::Method as Infer>::Response, (Problem, String)> {
    let without_id = |problem| (problem, String::new());
    // The first message was admitted with the stream.
    let again;
    let call = match index {
        0 => call,
        _ => {
            again = call.again().map_err(without_id)?;
            &again
        }
    };
    let entered = call.enter().await.map_err(without_id)?;
    let grown = share.grow(message.len().saturating_sub(share.held()));
    grown.map_err(|error| without_id(Problem::from(&error)))?;
    let deadline = Deadline::after(call.serving.limits().request_timeout);
    let parsed = parsed::<E::Method>(call, message, share, deadline).await;
    let (request, share) = parsed.map_err(without_id)?;
    let id = E::id(&request);
    let inference = Inference {
        call,
        entered: &entered,
        share,
        deadline,
        fields,
    };
    let response = E::Method::call(inference, request).await;
    response.map_err(|problem| (problem, id))
}

/// Counts a message of a gRPC stream, and its images, for its model and its key.
fn count_message(call: &Call, problem: Option<&Problem>, fields: &LogFields, took: Duration) {
    let metrics = call.serving.metrics();
    let status = problem.map_or(StatusCode::OK, |problem| problem.problem_type.status());
    metrics.message(&Responded {
        protocol: Protocol::Grpc.name(),
        status: status.as_u16(),
        took,
        model: &fields.model,
        version: fields.version,
        images: fields.images,
        key: call.key(),
        ..Responded::default()
    });
    fields.count(metrics, took);
}
