//! Predictions and explanations: `/predictions/{m}`, `/explanations/{m}`,
//! `/models/{m}/invoke` and KServe's `/v1/models/{m}:predict`.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::input::Input;
use super::response::{printed, written};
use crate::core::batch::ImageOutput;
use crate::core::error::Error;
use crate::core::explain::{Classes, OUTPUTS, explain, find_classes};
use crate::core::instance::Instance;
use crate::http::body::IncomingBody;
use crate::http::call::{Call, ImageRequest, finish};
use crate::http::inference::{Inference, Inferred, Named, Parsed, in_words};
use crate::http::observe::LogFields;
use crate::http::problem::{Problem, ProblemType};
use crate::http::target::{PathText, Target};
use crate::torchserve::answer::{explanation, predictions as answer};
use crate::torchserve::failure::words;
use crate::torchserve::version::number;

/// What the parser found besides the images.
pub(in crate::http) struct Rest {
    is_envelope: bool,
    target: Option<String>,
}

/// `/predictions/{name}[/{version}]`, with any method.
pub(super) async fn predictions(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = match named(&call.target) {
        Ok(model) => predict(&call, Some(model), body, &mut fields).await,
        Err(problem) => Err(problem),
    };
    finish(response, fields)
}

/// `/explanations/{name}[/{version}]`, with any method.
pub(super) async fn explanations(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = match named(&call.target) {
        Ok(model) => explain_images(&call, model, body, &mut fields).await,
        Err(problem) => Err(problem),
    };
    finish(response, fields)
}

/// `/v1/models/{name}:predict` and `:explain`.
pub(super) async fn kserve(
    PathText(path): PathText,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let response = match path.rsplit_once(':') {
        Some((name, "predict")) => {
            predict(&call, Some(Named::model(name)), body, &mut fields).await
        }
        Some((name, "explain")) => {
            explain_images(&call, Named::model(name), body, &mut fields).await
        }
        _ => Err(Problem::new(ProblemType::NotFound, path)),
    };
    finish(response, fields)
}

/// The model of a path.
fn named(target: &Target) -> Result<Named, Problem> {
    Ok(Named {
        name: target.name().map(str::to_owned),
        version: version_of(target)?,
    })
}

/// The version of a path.
fn version_of(target: &Target) -> Result<Option<u64>, Problem> {
    let name = target.name().unwrap_or_default();
    let version = target.version_text().map(|text| number(name, text));
    let problem = |error| in_words(Problem::from(&error), &error, words);
    version.transpose().map_err(problem)
}

/// The images of a request whose body names the model or not.
pub(in crate::http) fn parser(
    headers: &HeaderMap,
) -> impl FnOnce(&Bytes, usize) -> Result<Parsed<Rest>, String> + Send + use<> {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    move |body, most| {
        let input = Input::read(&content_type, body.clone(), most)?;
        Ok(Parsed {
            model: input.model.map(Named::model),
            images: input.images,
            rest: Rest {
                is_envelope: input.is_envelope,
                target: input.target,
            },
        })
    }
}

/// The classes of the images of a request.
async fn predict(
    call: &Call,
    model: Option<Named>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference {
        words,
        ..Inference::new(call)
    };
    let inferred = inference
        .run(model, body, parser(&call.headers), fields)
        .await?;
    answered(&inferred, &inferred.rest)
}

/// The answer to a request.
pub(in crate::http) fn answered<R>(
    inferred: &Inferred<R>,
    rest: &Rest,
) -> Result<Response, Problem> {
    let interpretation = inferred.instance.interpretation();
    let json = answer(interpretation, &inferred.outputs, rest.is_envelope);
    written(StatusCode::OK, json)
}

/// The answer to a request of KServe.
pub(in crate::http) fn envelope<R>(inferred: &Inferred<R>) -> Result<Response, Problem> {
    let interpretation = inferred.instance.interpretation();
    written(
        StatusCode::OK,
        answer(interpretation, &inferred.outputs, true),
    )
}

/// The class activation maps of the images of a request.
pub(in crate::http) async fn explain_images(
    call: &Call,
    model: Named,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let inference = Inference {
        words,
        needed: OUTPUTS,
        ..Inference::new(call)
    };
    let inferred = inference
        .run(Some(model), body, parser(&call.headers), fields)
        .await?;
    let Inferred {
        instance,
        outputs,
        rest,
        deadline,
        ..
    } = inferred;
    let classes = classes(&instance, rest.target.as_deref())?;
    let job = move || maps(&instance, &outputs, &classes);
    let maps = call.on_pool(job, deadline).await?;
    let maps = maps.map_err(|error| inference.problem(&error))?;
    match rest.is_envelope {
        true => printed(
            StatusCode::OK,
            &Explanations {
                explanations: &maps,
            },
        ),
        false => printed(StatusCode::OK, &maps[0]),
    }
}

/// The maps of a request of KServe.
#[derive(Serialize)]
struct Explanations<'a> {
    explanations: &'a [[Vec<Vec<f32>>; 1]],
}

/// The class to explain: the one that is asked for, or the most probable one.
fn classes(instance: &Instance, target: Option<&str>) -> Result<Classes, Problem> {
    let Some(target) = target.filter(|target| !target.is_empty()) else {
        return Ok(Classes::MostProbable(1));
    };
    match find_classes(instance.network().labels(), target) {
        Ok(classes) => Ok(Classes::These(classes.into_iter().take(1).collect())),
        Err(name) => Err(Problem::bad_parameter(format!(
            "target `{}` is not a class of the model; send the index of one",
            name.escape_default()
        ))),
    }
}

/// The map of each image.
fn maps(
    instance: &Instance,
    outputs: &[ImageOutput],
    classes: &Classes,
) -> Result<Vec<[Vec<Vec<f32>>; 1]>, Error> {
    let map = |output: &ImageOutput| {
        let maps = explain(instance.network(), output, classes)?;
        maps.first()
            .map(explanation)
            .ok_or(Error::FeatureMap { found: 0 })
    };
    outputs.iter().map(map).collect()
}
