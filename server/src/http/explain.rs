//! `POST /explain` and `POST /models/{name}/explain`: from the body of a request
//! to class activation maps, as JSON or drawn on the photo.

use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::accept::preferred;
use super::body::IncomingBody;
use super::call::{Call, ImageRequest, Needs, Received, finish};
use super::observe::LogFields;
use super::problem::Problem;
use super::response::{Results, counted};
use crate::core::admission::ByteShare;
use crate::core::answer::{Answer, AnswerOptions, Prediction, TOP_K};
use crate::core::batch::ImageOutput;
use crate::core::error::Error;
use crate::core::explain::{ClassMap, Classes, OUTPUTS, explain, find_classes};
use crate::core::image::EncodedImage;
use crate::core::instance::Instance;
use crate::core::overlay::{Style, overlay, png};

/// Most maps of an image.
const MAX_MAPS: usize = 100;

/// Bytes of the result of an image, of each of its classes, and of each value of a map,
/// as structures and as JSON.
const ITEM_BYTES: usize = 1024;
const CLASS_BYTES: usize = 256;
const VALUE_BYTES: usize = 24;

const ONE_PHOTO: &str = "an overlay shows one image and the request has several; send one image \
     per request, or ask for JSON with the header `Accept: application/json`";

/// The query of a request. Text, so that the problem can quote it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    top_k: Option<String>,
    class: Option<String>,
    opacity: Option<String>,
    colormap: Option<String>,
}

/// The query, parsed.
struct Requested {
    top_k: usize,
    /// As in the query: the names depend on the model.
    class: Option<String>,
    style: Style,
}

/// The query, for a model.
struct Prepared {
    classes: Classes,
    style: Style,
}

/// The form of a response.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Png,
}

const FORMATS: [(&str, Format); 2] = [
    ("application/json", Format::Json),
    ("image/png", Format::Png),
];

/// The result of one image.
#[derive(Serialize)]
struct Explanation<'a> {
    model: &'a str,
    version: u64,
    request_id: &'a str,
    #[serde(flatten)]
    answer: Answer<'a>,
    width: u32,
    height: u32,
    crop: Rectangle,
    maps: Vec<Map<'a>>,
}

/// In pixels of the upright photo.
#[derive(Serialize)]
struct Rectangle {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

#[derive(Serialize)]
struct Map<'a> {
    #[serde(flatten)]
    class: Prediction<'a>,
    logit: f32,
    /// Rows from the top.
    values: Vec<Vec<f32>>,
}

pub(super) async fn handle(
    query: Result<Query<Parameters>, QueryRejection>,
    ImageRequest { call, body }: ImageRequest,
) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, query, body, &mut fields).await;
    finish(response, fields)
}

async fn respond(
    call: &Call,
    query: Result<Query<Parameters>, QueryRejection>,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let format = preferred(&call.headers, &FORMATS).unwrap_or(Format::Json);
    let needs = Needs {
        outputs: OUTPUTS,
        single: matches!(format, Format::Png).then_some(ONE_PHOTO),
    };
    let prepare = |requested: Requested, instance: &Instance| {
        let network = instance.network();
        network.has_class_maps().map_err(Error::from)?;
        Ok((requested.prepare(instance)?, needs))
    };
    let received = call
        .receive(requested(query), prepare, body, fields)
        .await?;
    match format {
        Format::Json => as_json(call, received).await,
        Format::Png => as_png(call, received).await,
    }
}

fn requested(query: Result<Query<Parameters>, QueryRejection>) -> Result<Requested, Problem> {
    let Query(parameters) = query.map_err(|rejection| {
        Problem::bad_parameter(format!(
            "{}; the parameters are top_k, class, opacity and colormap",
            rejection.body_text()
        ))
    })?;
    if parameters.top_k.is_some() && parameters.class.is_some() {
        let reason = "top_k and class exclude each other; send one of them";
        return Err(Problem::bad_parameter(reason));
    }
    let default = Style::default();
    let top_k = parse("top_k", parameters.top_k, 1, |&k| {
        (1..=MAX_MAPS).contains(&k)
    })
    .map_err(|text| {
        Problem::bad_parameter(format!("{text}; it must be 1 to {MAX_MAPS} classes"))
    })?;
    let opacity = parse("opacity", parameters.opacity, default.opacity, |opacity| {
        (0.0..=1.0).contains(opacity)
    });
    let opacity =
        opacity.map_err(|text| Problem::bad_parameter(format!("{text}; it must be 0 to 1")))?;
    let colormap =
        parse("colormap", parameters.colormap, default.colormap, |_| true).map_err(|text| {
            Problem::bad_parameter(format!("{text}; it must be viridis, inferno or turbo"))
        })?;
    Ok(Requested {
        top_k,
        class: parameters.class,
        style: Style { opacity, colormap },
    })
}

/// A parameter, or what it is if it is not allowed.
fn parse<T: FromStr>(
    name: &str,
    text: Option<String>,
    default: T,
    is_allowed: impl Fn(&T) -> bool,
) -> Result<T, String> {
    let Some(text) = text else {
        return Ok(default);
    };
    let parsed = text.parse().ok().filter(is_allowed);
    parsed.ok_or_else(|| format!("{name} is `{}`", text.escape_default()))
}

impl Requested {
    /// Finds the classes among those of the model.
    fn prepare(self, instance: &Instance) -> Result<Prepared, Problem> {
        let labels = instance.network().labels();
        let classes = match self.class {
            None => Classes::MostProbable(self.top_k.min(labels.len())),
            Some(list) => Classes::These(find_classes(labels, &list).map_err(|name| {
                Problem::bad_parameter(format!(
                    "`{}` is not a class of model `{}`; use an index of 0 to {}, a WordNet id, \
                     or a label as GET /models/{} lists it",
                    name.escape_default(),
                    instance.name(),
                    labels.len().saturating_sub(1),
                    instance.name()
                ))
            })?),
        };
        match &classes {
            Classes::These(list) if list.len() > MAX_MAPS => Err(Problem::bad_parameter(format!(
                "class has {} classes; at most {MAX_MAPS} are allowed",
                list.len()
            ))),
            _ => Ok(Prepared {
                classes,
                style: self.style,
            }),
        }
    }
}

/// The maps are computed on the thread pool, not between two sockets.
async fn as_json(call: &Call, received: Received<Prepared>) -> Result<Response, Problem> {
    let Received {
        parameters,
        instance,
        outcomes,
        many,
        deadline,
        ..
    } = received;
    let id = call.id.as_str().to_owned();
    let min_confidence = call.serving.min_confidence();
    let mut share = call.serving.admission().bytes();
    share.grow(outcomes.len() * bytes_of_an_image(&parameters.classes, &instance))?;
    let job = move || {
        let renderer = Renderer {
            instance: &instance,
            classes: &parameters.classes,
            min_confidence,
            id: &id,
        };
        renderer.render(&outcomes, many, share)
    };
    let done = deadline.wait_for(call.serving.run_job(job)).await?;
    match done.and_then(|rendered| rendered) {
        Ok(response) => response,
        Err(error) => Err(call.problem(&error)),
    }
}

/// Bytes of the result of an image, at most.
fn bytes_of_an_image(classes: &Classes, instance: &Instance) -> usize {
    let maps = match classes {
        Classes::MostProbable(count) => *count,
        Classes::These(classes) => classes.len(),
    };
    let [height, width, _] = instance.network().info().feature_map;
    ITEM_BYTES + maps.max(TOP_K) * CLASS_BYTES + maps * width * height * VALUE_BYTES
}

/// What the results of a request have in common.
struct Renderer<'a> {
    instance: &'a Instance,
    classes: &'a Classes,
    /// The lowest probability of the category.
    min_confidence: f64,
    id: &'a str,
}

impl<'a> Renderer<'a> {
    fn render(
        &self,
        outcomes: &[Result<ImageOutput, Problem>],
        many: bool,
        share: ByteShare,
    ) -> Result<Result<Response, Problem>, Error> {
        let explained = outcomes.iter().map(|outcome| match outcome {
            Ok(output) => self.explanation(output).map(Ok),
            Err(problem) => Ok(Err(problem)),
        });
        let explained = explained.collect::<Result<Vec<_>, Error>>()?;
        Ok(Results::new(explained, many, self.id).and_then(|results| counted(&results, share)))
    }

    fn explanation(&self, output: &ImageOutput) -> Result<Explanation<'a>, Error> {
        let network = self.instance.network();
        let labels = network.labels();
        let maps = explain(network, output, self.classes)?;
        let interpretation = self.instance.interpretation();
        let values = interpretation.scale.values(&output.logits);
        let options = AnswerOptions {
            top_k: maps.len().max(TOP_K).min(labels.len()),
            threshold: 0.0,
            min_confidence: self.min_confidence,
        };
        let map = |map: ClassMap| {
            let rows = map.grid.values.chunks(map.grid.width.max(1));
            Map {
                class: interpretation.prediction(map.class, &values),
                logit: map.logit,
                values: rows.map(<[f32]>::to_vec).collect(),
            }
        };
        let crop = output.crop;
        Ok(Explanation {
            model: self.instance.name(),
            version: self.instance.version(),
            request_id: self.id,
            answer: interpretation.answer(&output.logits, None, options),
            width: crop.photo[0],
            height: crop.photo[1],
            crop: Rectangle {
                x: crop.x,
                y: crop.y,
                width: crop.width,
                height: crop.height,
            },
            maps: maps.into_iter().map(map).collect(),
        })
    }
}

/// The photo with the map of the first class.
async fn as_png(call: &Call, received: Received<Prepared>) -> Result<Response, Problem> {
    let Received {
        parameters,
        instance,
        outcomes,
        image,
        deadline,
        ..
    } = received;
    let output = outcomes
        .into_iter()
        .next()
        .ok_or_else(Problem::internal)??;
    let image = image.ok_or_else(Problem::internal)?;
    let limits = call.serving.limits().decode;
    let job = move || draw(&instance, &parameters, &output, &image, &limits);
    let drawn = deadline.wait_for(call.serving.run_job(job)).await?;
    match drawn.and_then(|drawn| drawn) {
        Ok(png) => Ok(([(CONTENT_TYPE, "image/png")], png).into_response()),
        Err(error) => Err(call.problem(&error)),
    }
}

fn draw(
    instance: &Instance,
    Prepared { classes, style }: &Prepared,
    output: &ImageOutput,
    image: &EncodedImage,
    limits: &preprocess::Limits,
) -> Result<Vec<u8>, Error> {
    let first = match classes {
        Classes::MostProbable(_) => Classes::MostProbable(1),
        Classes::These(classes) => Classes::These(classes.iter().take(1).copied().collect()),
    };
    let maps = explain(instance.network(), output, &first)?;
    let map = maps.first().ok_or(Error::FeatureMap { found: 0 })?;
    let photo = overlay(&image.bytes()?, limits, &output.crop, &map.grid, *style)?;
    png(&photo)
}
