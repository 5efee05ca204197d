//! `ModelStreamInfer`: each request of a stream has its own response.

use super::infer::ModelInfer;
use crate::core::limits::LONGEST_ID;
use crate::grpc::exchange::Exchange;
use crate::grpc::proto::inference::infer_parameter::ParameterChoice;
use crate::grpc::proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use crate::http::problem::Problem;

pub(super) struct ModelStreamInfer;

impl Exchange for ModelStreamInfer {
    type Method = ModelInfer;
    type Response = ModelStreamInferResponse;

    /// One that is too long is an error, and is not repeated.
    fn id(request: &ModelInferRequest) -> String {
        match request.id.len() <= LONGEST_ID {
            true => request.id.clone(),
            false => String::new(),
        }
    }

    fn response(result: Result<ModelInferResponse, (Problem, String)>) -> ModelStreamInferResponse {
        match result {
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
}
