//! What all routes with images have in common: from the body of a request to the
//! outputs of the network for each of its images.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use model::Outputs;
use tokio::time::{Instant, timeout_at};

use super::body::IncomingBody;
use super::encoding::Codings;
use super::forms::{Form, Images};
use super::observe::{LogFields, RequestId};
use super::problem::{Problem, ProblemType};
use super::target::Target;
use crate::core::admission::ByteShare;
use crate::core::batch::{ImageOutput, Timings};
use crate::core::error::{Error, ErrorClass};
use crate::core::image::EncodedImage;
use crate::core::instance::{Instance, Rank};
use crate::core::serving::{InFlight, Serving};

/// A request with images, before its body is read.
pub(super) struct ImageRequest {
    pub(super) call: Call,
    pub(super) body: IncomingBody,
}

/// One request without its body.
pub(super) struct Call {
    pub(super) serving: Arc<Serving>,
    pub(super) headers: HeaderMap,
    pub(super) id: RequestId,
    target: Target,
}

impl FromRequest<Arc<Serving>> for ImageRequest {
    type Rejection = Response;

    async fn from_request(request: Request, serving: &Arc<Serving>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let id = Extension::<RequestId>::from_request_parts(&mut parts, serving).await;
        let Extension(id) = id.map_err(IntoResponse::into_response)?;
        let target = Option::<Path<Target>>::from_request_parts(&mut parts, serving).await;
        let target = target.map_err(IntoResponse::into_response)?;
        let body = IncomingBody::new(&parts.headers, body);
        let call = Call {
            serving: Arc::clone(serving),
            headers: parts.headers,
            id,
            target: target.map(|Path(target)| target).unwrap_or_default(),
        };
        Ok(Self { call, body })
    }
}

/// What a route needs of the images of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    /// What the forward pass returns besides the logits.
    pub(super) outputs: Outputs,
    /// Why the request may have only one image, where it may. That image is kept.
    pub(super) single: Option<&'static str>,
}

/// A request whose images have run.
pub(super) struct Received<P> {
    pub(super) parameters: P,
    pub(super) instance: Arc<Instance>,
    /// In the order of the images.
    pub(super) outcomes: Vec<Result<ImageOutput, Problem>>,
    /// Whether the response is an array.
    pub(super) many: bool,
    /// The only image, for [`Needs::single`].
    pub(super) image: Option<EncodedImage>,
    pub(super) deadline: Deadline,
    _in_flight: InFlight,
}

impl Call {
    /// Reads a request and runs its images. `prepare` checks the parameters against
    /// the model, before the body is read.
    pub(super) async fn receive<Q, P>(
        &self,
        parameters: Result<Q, Problem>,
        prepare: impl FnOnce(Q, &Instance) -> Result<(P, Needs), Problem>,
        body: IncomingBody,
        fields: &mut LogFields,
    ) -> Result<Received<P>, Problem> {
        let limits = self.serving.limits();
        let deadline = Deadline::after(limits.request_timeout);
        // Whatever can be rejected without the body is rejected before it is read.
        let early = async {
            let in_flight = self.serving.enter()?;
            let parameters = parameters?;
            let codings = Codings::of(&self.headers)?;
            self.serving.admission().check().await?;
            let found = self
                .serving
                .registry()
                .find(self.target.name(), self.target.version()?);
            let instance = deadline.wait_for(found).await??;
            let (parameters, needs) = prepare(parameters, &instance)?;
            Ok::<_, Problem>((in_flight, parameters, needs, codings, instance))
        };
        let (in_flight, parameters, needs, codings, instance) = match early.await {
            Ok(early) => early,
            Err(problem) => {
                body.discard();
                return Err(problem);
            }
        };
        instance.name().clone_into(&mut fields.model);
        fields.version = instance.version();

        let mut share = self.serving.admission().bytes();
        let body = body.read(limits, &mut share).await?;
        fields.bytes = body.len();
        let deadline = Deadline::after(limits.request_timeout);
        let images = self.unpack(body, codings, &mut share, deadline).await?;
        fields.images = images.files.len();
        let many = images.many;
        let share = Arc::new(share);
        let image = needs.only_image(&images, &share)?;
        let outcomes = self.outcomes(&instance, images, share, needs.outputs, deadline);
        let outcomes = outcomes.await?;
        fields.timings = slowest(&outcomes);
        Ok(Received {
            parameters,
            instance,
            outcomes,
            many,
            image,
            deadline,
            _in_flight: in_flight,
        })
    }

    /// The images of a body.
    async fn unpack(
        &self,
        body: Bytes,
        codings: Codings,
        share: &mut ByteShare,
        deadline: Deadline,
    ) -> Result<Images, Problem> {
        let body = match codings.is_identity() {
            true => body,
            false => self.decoded(body, codings, share, deadline).await?,
        };
        let most = self.serving.limits().max_images;
        match Form::of(&self.headers, &body)? {
            Form::Raw => Form::Raw.unpack(body, most),
            form => {
                share.grow(form.copies(&body))?;
                self.on_pool(move || form.unpack(body, most), deadline)
                    .await?
            }
        }
    }

    /// A body without its content encoding.
    async fn decoded(
        &self,
        body: Bytes,
        codings: Codings,
        share: &mut ByteShare,
        deadline: Deadline,
    ) -> Result<Bytes, Problem> {
        let limits = self.serving.limits().clone();
        let mut taken = std::mem::replace(share, share.sibling());
        let decode = move || (codings.decode(body, &limits, &mut taken), taken);
        let (body, taken) = self.on_pool(decode, deadline).await?;
        *share = taken;
        body
    }

    /// Runs a job on the thread pool: megabytes are not parsed between two
    /// sockets.
    async fn on_pool<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let done = deadline.wait_for(self.serving.run_job(job)).await?;
        done.map_err(|error| self.problem(&error))
    }

    /// The result or problem of each image, in order.
    async fn outcomes(
        &self,
        instance: &Instance,
        images: Images,
        share: Arc<ByteShare>,
        outputs: Outputs,
        deadline: Deadline,
    ) -> Result<Vec<Result<ImageOutput, Problem>>, Problem> {
        let count = images.files.len();
        let permits = self.serving.admission().admit(count).await?;
        let infer = async |(index, (file, permit))| {
            let rank = Rank { index, of: count };
            let image = EncodedImage::new(file, images.encoding, Arc::clone(&share));
            let output = instance.infer(image, outputs, permit, rank);
            let output = deadline.wait_for(output).await?;
            output.map_err(|error| self.problem(&error))
        };
        let files = images.files.into_iter();
        Ok(join_all(files.zip(permits).enumerate().map(infer)).await)
    }

    /// Renders an error of the core as a problem. The cause of an internal error is
    /// logged and not returned.
    pub(super) fn problem(&self, error: &Error) -> Problem {
        if error.class() == ErrorClass::Internal {
            tracing::error!(request_id = self.id.as_str(), %error, "an image failed");
        }
        Problem::from(error)
    }
}

impl Needs {
    /// The only image of the request, if the route needs it.
    ///
    /// # Errors
    /// 400 if there are several.
    fn only_image(
        &self,
        images: &Images,
        share: &Arc<ByteShare>,
    ) -> Result<Option<EncodedImage>, Problem> {
        let keep =
            |file: &Bytes| EncodedImage::new(file.clone(), images.encoding, Arc::clone(share));
        match (self.single, &images.files[..]) {
            (None, _) => Ok(None),
            (Some(_), [only]) => Ok(Some(keep(only))),
            (Some(reason), _) => Err(Problem::bad_parameter(reason)),
        }
    }
}

/// The deadline of a request.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
        }
    }

    pub(super) async fn wait_for<T>(self, future: impl Future<Output = T>) -> Result<T, Problem> {
        timeout_at(self.at, future).await.map_err(|_| {
            let detail = format!(
                "no result within {} s; send the request again when the server is less busy",
                self.limit.as_secs_f64()
            );
            Problem::new(ProblemType::DeadlineExceeded, detail)
        })
    }
}

/// The longest time of each step over all images.
fn slowest(outcomes: &[Result<ImageOutput, Problem>]) -> Timings {
    let timings = outcomes.iter().flatten().map(|output| output.timings);
    timings.fold(Timings::default(), |a, b| Timings {
        decode: a.decode.max(b.decode),
        queue: a.queue.max(b.queue),
        forward: a.forward.max(b.forward),
    })
}

/// The response of a handler, with `Server-Timing` and with what the handler adds
/// to the access log.
pub(super) fn finish(response: Result<Response, Problem>, fields: LogFields) -> Response {
    let mut response = match response {
        Ok(mut response) => {
            let name = HeaderName::from_static("server-timing");
            response.headers_mut().insert(name, server_timing(&fields));
            response
        }
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(fields);
    response
}

fn server_timing(fields: &LogFields) -> HeaderValue {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let text = format!(
        "model;desc=\"{}/{}\", decode;dur={:.2}, queue;dur={:.2}, forward;dur={:.2}",
        fields.model,
        fields.version,
        ms(fields.timings.decode),
        ms(fields.timings.queue),
        ms(fields.timings.forward)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("decode"))
}
