//! `ModelInfer`: from the tensors of a message to those of its response, all as raw
//! contents, which is what clients read.

use std::sync::Arc;

use super::request::{Parsed, parse, version};
use crate::core::batch::ImageOutput;
use crate::core::instance::Instance;
use crate::grpc::proto::inference::model_infer_response::InferOutputTensor;
use crate::grpc::proto::inference::{ModelInferRequest, ModelInferResponse};
use crate::grpc::unary::{Infer, Inference};
use crate::grpc::weight::Fields;
use crate::http::call::Call;
use crate::http::oip::errors::{all_or_first_error, problem};
use crate::http::problem::Problem;
use crate::oip::failure::Failure;
use crate::oip::images::{ModelInput, images};
use crate::oip::outputs::{OutputTensor, Wanted, needed, outputs, size};

/// Values of a response that are written at once; more are a job of the thread
/// pool.
const SMALL_VALUES: usize = 64 << 10;

/// Raw contents, and the elements of BYTES tensors; integers and floats.
pub(in crate::grpc) const FIELDS: Fields = Fields {
    bytes: &[&[7], &[5, 5, 8]],
    integers: &[&[5, 5, 4]],
    floats: &[&[5, 5, 6]],
};

pub(super) struct ModelInfer;

impl Infer for ModelInfer {
    type Request = ModelInferRequest;
    type Response = ModelInferResponse;
    const FIELDS: Fields = FIELDS;

    async fn call(
        inference: Inference<'_>,
        request: ModelInferRequest,
    ) -> Result<ModelInferResponse, Problem> {
        let Inference {
            call,
            entered,
            share,
            deadline,
            fields,
        } = inference;
        let share = Arc::new(share);
        let failed = |failure: Failure| problem(call, &failure);
        let name = request.model_name.clone();
        let version = version(&name, &request.model_version);
        let version = version.map_err(|error| failed(error.into()))?;
        let instance = call.model(Some(&name), version, entered, fields).await;
        let instance = instance.map_err(|error| failed(error.into()))?;
        // Typed contents are copied.
        let parsed = match request.raw_input_contents.is_empty() {
            true => call.on_pool(move || parse(request), deadline).await?,
            false => parse(request),
        };
        let Parsed {
            id,
            policy,
            input,
            wanted,
        } = parsed.map_err(failed)?;
        let schedule = policy.schedule(deadline);
        let model = ModelInput {
            model: &name,
            side: instance.network().info().input_size,
            most: call.serving.limits().max_images,
            range: instance.floats(),
        };
        let images = images(&input, model, &share).map_err(failed)?;
        drop((input, share));
        let needed = needed(&wanted, &instance).map_err(failed)?;
        let outcomes = call.run(&instance, images, needed, schedule, fields).await;
        let outcomes = outcomes.map_err(|error| failed(error.into()))?;
        let images = all_or_first_error(call, outcomes)?;
        let version = instance.version().to_string();
        let tensors = rendered(call, instance, wanted, images, schedule.deadline).await?;
        Ok(response(name, version, id, &tensors))
    }
}

async fn rendered(
    call: &Call,
    instance: Arc<Instance>,
    wanted: Vec<Wanted>,
    images: Vec<ImageOutput>,
    deadline: crate::core::request::Deadline,
) -> Result<Vec<OutputTensor>, Problem> {
    let is_small = size(&wanted, &images) <= SMALL_VALUES;
    let job = move || outputs(&wanted, &instance, &images);
    let tensors = match is_small {
        true => job(),
        false => call.on_pool(job, deadline).await?,
    };
    tensors.map_err(|failure| problem(call, &failure))
}

fn response(
    model_name: String,
    model_version: String,
    id: String,
    tensors: &[OutputTensor],
) -> ModelInferResponse {
    let raw = tensors.iter().map(|tensor| tensor.data.to_raw().into());
    let outputs = tensors.iter().map(|tensor| InferOutputTensor {
        name: tensor.name.to_owned(),
        datatype: tensor.data.datatype().name().to_owned(),
        shape: tensor.shape.iter().map(|&dim| dim as i64).collect(),
        ..InferOutputTensor::default()
    });
    ModelInferResponse {
        model_name,
        model_version,
        id,
        outputs: outputs.collect(),
        raw_output_contents: raw.collect(),
        ..ModelInferResponse::default()
    }
}
