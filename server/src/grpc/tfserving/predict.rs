//! `Predict`: the probabilities of all classes of each image.

use std::collections::HashMap;
use std::sync::Arc;

use super::spec::Spec;
use super::tensor;
use crate::core::admission::ByteShare;
use crate::core::batch::ImageOutput;
use crate::core::instance::Instance;
use crate::core::request::Deadline;
use crate::core::sent::Sent;
use crate::grpc::proto::tensorflow::serving::{PredictRequest, PredictResponse};
use crate::grpc::proto::tensorflow::tensor_shape_proto::Dim;
use crate::grpc::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};
use crate::grpc::unary::{Infer, Inference};
use crate::grpc::weight::Fields;
use crate::http::call::Call;
use crate::http::inference::{Inference as Served, malformed};
use crate::http::problem::Problem;
use crate::tfserving::failure::words;
use crate::tfserving::signature::OUTPUT;

/// Values of a response that are computed at once; more are a job of the thread
/// pool.
const SMALL_VALUES: usize = 8 << 10;

pub(super) struct Predict;

impl Infer for Predict {
    type Request = PredictRequest;
    type Response = PredictResponse;

    /// Strings and contents; integers and floats.
    const FIELDS: Fields = Fields {
        bytes: &[&[2, 2, 4], &[2, 2, 8]],
        integers: &[&[2, 2, 7]],
        floats: &[&[2, 2, 5]],
    };

    async fn call(
        mut inference: Inference<'_>,
        request: PredictRequest,
    ) -> Result<PredictResponse, Problem> {
        let spec = Spec::new(request.model_spec)?;
        let instance = spec.instance(&mut inference).await?;
        check(&request.output_filter).map_err(malformed)?;
        let tensor = only(request.inputs).map_err(malformed)?;
        let Inference {
            call,
            share,
            deadline,
            fields,
            ..
        } = inference;
        let (images, share) = images(call, tensor, share, deadline).await?;
        let served = Served {
            words,
            ..Served::new(call)
        };
        let outputs = served.outputs(&instance, images, share, deadline, fields);
        let outputs = outputs.await?;
        let model_spec = Some(spec.served(&instance));
        let probabilities = probabilities(call, instance, outputs, deadline).await?;
        Ok(PredictResponse {
            model_spec,
            outputs: HashMap::from([(OUTPUT.to_owned(), probabilities)]),
        })
    }
}

/// Checks the outputs that a request wants; without any, it wants all.
fn check(filter: &[String]) -> Result<(), String> {
    match filter {
        [] => Ok(()),
        [only] if only == OUTPUT => Ok(()),
        [first, second, ..] if first == OUTPUT && second == OUTPUT => {
            Err(format!("duplicate output tensor alias: {OUTPUT}"))
        }
        names => {
            let unknown = names.iter().find(|name| *name != OUTPUT);
            Err(format!(
                "output tensor alias not found in signature: {} Outputs expected to be in the set \
                 {{{OUTPUT}}}.",
                unknown.map_or("", String::as_str).escape_default()
            ))
        }
    }
}

/// The only input, under any name.
fn only(inputs: HashMap<String, TensorProto>) -> Result<TensorProto, String> {
    let count = inputs.len();
    let mut inputs = inputs.into_values();
    match (inputs.next(), count) {
        (Some(only), 1) => Ok(only),
        _ => Err(format!(
            "input size does not match signature: {count}!=1; send one input, the images"
        )),
    }
}

async fn images(
    call: &Call,
    tensor: TensorProto,
    mut share: ByteShare,
    deadline: Deadline,
) -> Result<(Vec<Sent>, ByteShare), Problem> {
    let most = call.serving.limits().max_images;
    if tensor::is_files(&tensor) {
        return Ok((tensor::images(tensor, most, &mut share)?, share));
    }
    let job = move || Ok((tensor::images(tensor, most, &mut share)?, share));
    call.on_pool(job, deadline).await?
}

/// DT_FLOAT `[N, classes]`.
async fn probabilities(
    call: &Call,
    instance: Arc<Instance>,
    outputs: Vec<ImageOutput>,
    deadline: Deadline,
) -> Result<TensorProto, Problem> {
    let classes = instance.network().info().classes;
    let dim = |size: usize| Dim {
        size: i64::try_from(size).unwrap_or(i64::MAX),
        name: String::new(),
    };
    let shape = TensorShapeProto {
        dim: vec![dim(outputs.len()), dim(classes)],
        unknown_rank: false,
    };
    let is_small = outputs.len().saturating_mul(classes) <= SMALL_VALUES;
    let job = move || {
        let scale = instance.interpretation().scale;
        let values = outputs.iter().flat_map(|o| scale.values(&o.logits));
        values.map(|value| value as f32).collect()
    };
    let float_val: Vec<f32> = match is_small {
        true => job(),
        false => call.on_pool(job, deadline).await?,
    };
    Ok(TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape),
        float_val,
        ..TensorProto::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_may_name_the_only_output_once() {
        let check =
            |names: &[&str]| check(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[OUTPUT]), Ok(()));
        assert!(check(&[OUTPUT, OUTPUT]).unwrap_err().contains("duplicate"));
        for names in [&["logits"][..], &[OUTPUT, "logits"], &["logits", OUTPUT]] {
            let error = check(names).unwrap_err();
            assert!(error.contains("signature: logits Outputs"), "{error}");
        }
    }
}
