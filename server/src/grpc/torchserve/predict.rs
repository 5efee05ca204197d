//! Predictions: the same JSON as over REST, in a message.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::admission::ByteShare;
use crate::core::request::Deadline;
use crate::core::serving::Serving;
use crate::grpc::exchange::Exchange;
use crate::grpc::proto::google::rpc::Status;
use crate::grpc::proto::org::pytorch::serve::grpc::inference::{
    PredictionResponse, PredictionsRequest, TorchServeHealthResponse,
};
use crate::grpc::status::status;
use crate::grpc::unary::{Infer, Inference, Query};
use crate::grpc::weight::Fields;
use crate::http::call::Call;
use crate::http::document;
use crate::http::inference::{Inference as Served, malformed};
use crate::http::problem::Problem;
use crate::http::torchserve::input::{IMAGE_FIELDS, Input, is_json};
use crate::torchserve::answer::{health, json, predictions};
use crate::torchserve::failure::words;
use crate::torchserve::version::number;

pub(super) struct Ping;

impl Query for Ping {
    type Request = ();
    type Response = TorchServeHealthResponse;

    async fn call(serving: &Arc<Serving>, (): ()) -> Result<Self::Response, Problem> {
        let body = json(&health(serving.ready().is_ok())).map_err(|_| Problem::internal())?;
        Ok(TorchServeHealthResponse {
            health: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

pub(super) struct Predictions;

impl Infer for Predictions {
    type Request = PredictionsRequest;
    type Response = PredictionResponse;
    const FIELDS: Fields = Fields {
        bytes: &[&[3, 2]],
        integers: &[],
        floats: &[],
    };

    async fn call(
        inference: Inference<'_>,
        request: PredictionsRequest,
    ) -> Result<PredictionResponse, Problem> {
        let Inference {
            call,
            entered,
            share,
            deadline,
            fields,
        } = inference;
        let served = Served {
            words,
            ..Served::new(call)
        };
        let name = request.model_name.as_str();
        if name.is_empty() {
            return Err(Problem::bad_parameter("Parameter model_name is required."));
        }
        let version = Some(request.model_version.as_str()).filter(|text| !text.is_empty());
        let version = version.map(|text| number(name, text)).transpose();
        let version = version.map_err(|error| served.problem(&error))?;
        let instance = call.model(Some(name), version, entered, fields).await;
        let instance = instance.map_err(|error| served.problem(&error))?;
        let value = image(request.input).map_err(malformed)?;
        let (input, share) = read(call, value, share, deadline).await?;
        let outputs = served.outputs(&instance, input.images, share, deadline, fields);
        let outputs = outputs.await?;
        let answer = predictions(instance.interpretation(), &outputs, input.is_envelope);
        Ok(PredictionResponse {
            prediction: answer.map_err(|_| Problem::internal())?.into(),
            ..PredictionResponse::default()
        })
    }
}

/// The value that the image classifier reads.
fn image(mut input: HashMap<String, Bytes>) -> Result<Bytes, String> {
    let value = IMAGE_FIELDS.iter().find_map(|field| input.remove(*field));
    value.ok_or_else(|| {
        "the request has neither an input `data` nor an input `body`; send the bytes of the image \
         as `data`"
            .into()
    })
}

/// The images of a value. JSON is parsed on the thread pool.
async fn read(
    call: &Call,
    value: Bytes,
    mut share: ByteShare,
    deadline: Deadline,
) -> Result<(Input, ByteShare), Problem> {
    let most = call.serving.limits().max_images;
    let input = match is_json(&value) {
        false => Input::of_value(value, most),
        true => {
            share.grow(document::copies(&value))?;
            call.on_pool(move || Input::of_value(value, most), deadline)
                .await?
        }
    };
    Ok((input.map_err(malformed)?, share))
}

pub(super) struct StreamPredictions2;

impl Exchange for StreamPredictions2 {
    type Method = Predictions;
    type Response = PredictionResponse;

    /// TorchServe does not repeat the id of the sequence.
    fn id(_: &PredictionsRequest) -> String {
        String::new()
    }

    fn response(result: Result<PredictionResponse, (Problem, String)>) -> PredictionResponse {
        result.unwrap_or_else(|(problem, _)| {
            let status = status(&problem);
            PredictionResponse {
                status: Some(Status {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    details: Vec::new(),
                }),
                ..PredictionResponse::default()
            }
        })
    }
}
