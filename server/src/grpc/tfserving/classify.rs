//! `Classify`: the best classes of the image in each example.

use super::spec::Spec;
use crate::core::answer::TOP_K;
use crate::core::image::Encoding;
use crate::core::scores::best;
use crate::core::sent::{Sent, too_many};
use crate::grpc::proto::tensorflow::feature::Kind;
use crate::grpc::proto::tensorflow::serving::input::Kind as Examples;
use crate::grpc::proto::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    Input,
};
use crate::grpc::proto::tensorflow::{Example, Feature};
use crate::grpc::unary::{Infer, Inference};
use crate::grpc::weight::Fields;
use crate::http::inference::{Inference as Served, malformed};
use crate::http::problem::Problem;
use crate::tfserving::failure::words;

pub(super) struct Classify;

impl Infer for Classify {
    type Request = ClassificationRequest;
    type Response = ClassificationResponse;

    /// The bytes of a feature, in both lists of examples.
    const FIELDS: Fields = Fields {
        bytes: &[&[2, 1, 1, 1, 1, 2, 1, 1], &[2, 2, 1, 1, 1, 2, 1, 1]],
        integers: &[],
        floats: &[],
    };

    async fn call(
        mut inference: Inference<'_>,
        request: ClassificationRequest,
    ) -> Result<ClassificationResponse, Problem> {
        let spec = Spec::new(request.model_spec)?;
        let instance = spec.instance(&mut inference).await?;
        let Inference {
            call,
            share,
            deadline,
            fields,
            ..
        } = inference;
        let most = call.serving.limits().max_images;
        let images = images(request.input, most).map_err(malformed)?;
        let served = Served {
            words,
            ..Served::new(call)
        };
        let outputs = served.outputs(&instance, images, share, deadline, fields);
        let outputs = outputs.await?;
        let interpretation = instance.interpretation();
        let image = |logits: &[f32]| {
            let scores = best(interpretation, logits, TOP_K).into_iter();
            let classes = scores.map(|score| Class {
                label: score.label.to_owned(),
                score: score.value as f32,
            });
            Classifications {
                classes: classes.collect(),
            }
        };
        Ok(ClassificationResponse {
            result: Some(ClassificationResult {
                classifications: outputs.iter().map(|output| image(&output.logits)).collect(),
            }),
            model_spec: Some(spec.served(&instance)),
        })
    }
}

/// The image of each example. A context says nothing about images.
fn images(input: Option<Input>, most: usize) -> Result<Vec<Sent>, String> {
    let examples = match input.and_then(|input| input.kind) {
        Some(Examples::ExampleList(list)) => list.examples,
        Some(Examples::ExampleListWithContext(list)) => list.examples,
        None => Vec::new(),
    };
    match examples.len() {
        0 => Err("Input is empty.".into()),
        count if count > most => Err(too_many(count, most)),
        _ => examples.into_iter().map(image).collect(),
    }
}

/// The file in the only feature of an example, under any name.
fn image(example: Example) -> Result<Sent, String> {
    let features = example.features.unwrap_or_default().feature;
    let count = features.len();
    let mut features = features.into_values();
    match (features.next(), count) {
        (Some(Feature { kind }), 1) => match kind {
            Some(Kind::BytesList(list)) => match <[_; 1]>::try_from(list.value) {
                Ok([file]) => Ok(Sent::File(file, Encoding::Raw)),
                Err(values) => Err(format!(
                    "the feature of an example has {} values; send one image file",
                    values.len()
                )),
            },
            _ => Err(
                "the feature of an example has numbers, which have no shape; send the image file \
                 in bytes_list"
                    .into(),
            ),
        },
        _ => Err(format!(
            "an example has {count} features; send one, the image file"
        )),
    }
}
