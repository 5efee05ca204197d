//! `POST /v2/models/{name}/infer`: from the tensors of a request to those of its
//! response.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::errors::{all_or_first_error, problem};
use super::request::{InferRequest, parse};
use super::response::{Coding, Head, InferBody, body as render, memory};
use crate::core::admission::ByteShare;
use crate::core::batch::ImageOutput;
use crate::core::image::ImageInput;
use crate::core::instance::Instance;
use crate::http::body::IncomingBody;
use crate::http::call::{Call, ImageRequest, ReadBody, finish};
use crate::http::observe::LogFields;
use crate::http::problem::Problem;
use crate::http::response::counted_bytes;
use crate::oip::failure::Failure;
use crate::oip::images::{ModelInput, images, raw};
use crate::oip::outputs::{Wanted, needed, outputs, size};
use crate::oip::policy::Policy;

/// The length of the JSON in front of binary tensors.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// JSON and values up to this size are handled at once; more of them is a job of
/// the thread pool.
const SMALL_JSON: usize = 16 << 10;
const SMALL_VALUES: usize = 8 << 10;

pub(super) async fn infer(ImageRequest { call, body }: ImageRequest) -> Response {
    let mut fields = LogFields::default();
    let response = respond(&call, body, &mut fields).await;
    finish(response, fields)
}

/// A request, parsed.
struct Parsed {
    request: Request,
    images: Vec<ImageInput>,
}

/// What of it the response needs.
struct Request {
    id: Option<String>,
    wanted: Vec<Wanted>,
    policy: Policy,
}

async fn respond(
    call: &Call,
    body: IncomingBody,
    fields: &mut LogFields,
) -> Result<Response, Problem> {
    let failed = |failure: Failure| problem(call, &failure);
    let entered = call.enter().await?;
    let header = header_length(&call.headers).map_err(failed)?;
    let model = call.target.name().unwrap_or_default();
    let version = call
        .target
        .version()
        .map_err(|error| failed(error.into()))?;
    let instance = call.model(Some(model), version, &entered, fields).await;
    let instance = instance.map_err(|error| failed(error.into()))?;

    let body = call.read(body, &entered, fields).await?;
    let deadline = body.deadline;
    let parsed = parsed(call, &instance, header, body).await?;
    let Parsed { request, images } = parsed.map_err(failed)?;
    let schedule = request.policy.schedule(deadline);
    let needed = needed(&request.wanted, &instance).map_err(failed)?;
    let outcomes = call.run(&instance, images, needed, schedule, fields).await;
    let outcomes = outcomes.map_err(|error| failed(error.into()))?;
    let images = all_or_first_error(call, outcomes)?;

    let response = Responding {
        model: model.to_owned(),
        request,
        instance,
        images,
        coding: accepted(&call.headers),
        share: call.serving.admission().bytes(),
    };
    let response = match response.is_small() {
        true => response.render(),
        false => {
            let render = move || response.render();
            call.on_pool(render, schedule.deadline).await?
        }
    };
    response.map_err(failed)
}

/// The value of [`HEADER_LENGTH`].
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    let Some(value) = headers.get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let length = text.trim().parse();
    length.map(Some).map_err(|_| {
        Failure::Invalid(format!(
            "Unable to parse Inference-Header-Content-Length, got: {text}"
        ))
    })
}

fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let value = headers.get(ACCEPT_ENCODING)?;
    Coding::preferred(value.to_str().ok()?)
}

/// Parses a body, on the thread pool if it is large.
async fn parsed(
    call: &Call,
    instance: &Instance,
    header: Option<usize>,
    body: ReadBody,
) -> Result<Result<Parsed, Failure>, Problem> {
    let ReadBody {
        bytes,
        share,
        deadline,
    } = body;
    let model = call.target.name().unwrap_or_default().to_owned();
    let side = instance.network().info().input_size;
    let range = instance.floats();
    let most = call.serving.limits().max_images;
    let is_small = header.unwrap_or(bytes.len()) <= SMALL_JSON;
    let job = move || {
        let input = ModelInput {
            model: &model,
            side,
            most,
            range,
        };
        read(bytes, header, input, share)
    };
    match is_small {
        true => Ok(job()),
        false => call.on_pool(job, deadline).await,
    }
}

fn read(
    body: Bytes,
    header: Option<usize>,
    input: ModelInput<'_>,
    mut share: ByteShare,
) -> Result<Parsed, Failure> {
    if header == Some(0) {
        let wanted = vec![Wanted::default_output(true)];
        return Ok(Parsed {
            request: Request {
                id: None,
                wanted,
                policy: Policy::default(),
            },
            images: raw(body, Arc::new(share)),
        });
    }
    let InferRequest {
        id,
        policy,
        input: tensor,
        wanted,
    } = parse(&body, header, input.model, &mut share)?;
    Ok(Parsed {
        request: Request { id, wanted, policy },
        images: images(&tensor, input, &Arc::new(share))?,
    })
}

/// Everything that a response is made of.
struct Responding {
    /// As the request names it.
    model: String,
    request: Request,
    instance: Arc<Instance>,
    images: Vec<ImageOutput>,
    coding: Option<Coding>,
    share: ByteShare,
}

impl Responding {
    fn is_small(&self) -> bool {
        size(&self.request.wanted, &self.images) <= SMALL_VALUES
    }

    fn render(self) -> Result<Response, Failure> {
        let Self {
            model,
            request,
            instance,
            images,
            coding,
            mut share,
        } = self;
        let tensors = outputs(&request.wanted, &instance, &images)?;
        share.grow(memory(&tensors))?;
        let version = instance.version().to_string();
        let head = Head {
            id: request.id.as_deref(),
            model: &model,
            version: &version,
        };
        let failed = |_| Failure::from(crate::core::error::Error::Panicked("a response"));
        let InferBody { bytes, header } = render(head, &tensors).map_err(failed)?;
        let (bytes, coding) = match coding.map(|coding| (coding.encode(&bytes), coding)) {
            Some((Ok(encoded), coding)) => (encoded, Some(coding)),
            _ => (bytes, None),
        };
        let mut response = counted_bytes(bytes, share);
        let headers = response.headers_mut();
        let content_type = match header {
            Some(_) => "application/octet-stream",
            None => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = header {
            headers.insert(HEADER_LENGTH, length.into());
        }
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        Ok(response)
    }
}
