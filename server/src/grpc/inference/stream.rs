//! `ModelStreamInfer`: each request of a stream has its own response, in order. An
//! error of a request does not end the stream.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost::Message;

use super::infer::ModelInfer;
use crate::core::admission::ByteShare;
use crate::core::request::Deadline;
use crate::core::serving::Serving;
use crate::grpc::frames::{broken, response};
use crate::grpc::proto::inference::infer_parameter::ParameterChoice;
use crate::grpc::proto::inference::{InferParameter, ModelInferResponse, ModelStreamInferResponse};
use crate::grpc::status::status;
use crate::grpc::streams::{Requests, ended, until};
use crate::grpc::unary::{Infer, Inference, client_timeout, parsed};
use crate::http::call::Call;
use crate::http::observe::{LogFields, RequestId};
use crate::http::problem::Problem;

/// Requests of a stream that run at the same time.
const CONCURRENT: usize = 16;

pub(super) async fn infer(
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
    let call = Arc::new(Call::new(serving, head.headers, id));
    let responses = messages.map(move |message| {
        let (call, share) = (Arc::clone(&call), arriving.take());
        async move {
            let message = message.map_err(|error| status(&broken(&error)))?;
            let waiting = share.sibling();
            let response = respond(&call, message, share).await;
            // Counted while it waits for its turn and for the client.
            Ok(waiting.hold(response.encode_to_vec()))
        }
    });
    let responses = responses.buffered(CONCURRENT);
    let responses = responses.chain(stream::once(ended(stopping)).filter_map(async |end| end));
    Ok(response(until(limit, responses)))
}

async fn respond(call: &Call, message: Bytes, share: ByteShare) -> ModelStreamInferResponse {
    match infer_one(call, message, share).await {
        Ok(mut response) => {
            let last = ParameterChoice::BoolParam(true);
            let last = InferParameter {
                parameter_choice: Some(last),
            };
            let name = "triton_final_response".to_owned();
            response.parameters.insert(name, last);
            ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(response),
            }
        }
        Err((problem, id)) => ModelStreamInferResponse {
            error_message: problem.detail().to_owned(),
            infer_response: Some(ModelInferResponse {
                id,
                ..ModelInferResponse::default()
            }),
        },
    }
}

async fn infer_one(
    call: &Call,
    message: Bytes,
    mut share: ByteShare,
) -> Result<ModelInferResponse, (Problem, String)> {
    let without_id = |problem| (problem, String::new());
    let entered = call.enter().await.map_err(without_id)?;
    let grown = share.grow(message.len().saturating_sub(share.held()));
    grown.map_err(|error| without_id(Problem::from(&error)))?;
    let deadline = Deadline::after(call.serving.limits().request_timeout);
    let parsed = parsed::<ModelInfer>(call, message, share, deadline).await;
    let (request, share) = parsed.map_err(without_id)?;
    let id = request.id.clone();
    let inference = Inference {
        call,
        entered: &entered,
        share: Arc::new(share),
        deadline,
        fields: &mut LogFields::default(),
    };
    let response = ModelInfer::call(inference, request).await;
    response.map_err(|problem| (problem, id))
}
