//! What all routes with images have in common: from the body of a request to the
//! outputs of the network for each of its images. [`Call::receive`] is the path of
//! the native routes; a dialect calls the same steps ([`Call::enter`],
//! [`Call::model`], [`Call::read`], [`Call::run`]) with its own parser in between.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use model::Outputs;
use tracing::Instrument;

use super::body::IncomingBody;
use super::by_url::{self, Collected};
use super::encoding::Codings;
use super::forms::{Form, Images};
use super::observe::{LogFields, RequestId};
use super::problem::Problem;
use super::target::Target;
use super::{timeout, trace};
use crate::core::admission::ByteShare;
use crate::core::batch::ImageOutput;
use crate::core::cache::lookup::{self, Lookup};
use crate::core::error::{Error, ErrorClass};
use crate::core::image::{EncodedImage, ImageInput};
use crate::core::instance::Instance;
use crate::core::keys::Caller;
use crate::core::request::{self, Deadline, Outcome, Schedule};
use crate::core::serving::{InFlight, Serving};
use crate::fetch::fetcher::Fetcher;

/// A request with images, before its body is read. After an early return, the
/// body is thrown away while the response is sent.
pub(crate) struct ImageRequest {
    pub(crate) call: Call,
    pub(crate) body: IncomingBody,
}

/// One request without its body.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) serving: Arc<Serving>,
    pub(crate) headers: HeaderMap,
    pub(crate) id: RequestId,
    /// The parameters `name` and `version` of the path.
    pub(super) target: Target,
    /// Fetches images by URL, where the operator allows it.
    pub(super) fetcher: Option<Arc<Fetcher>>,
    /// Who sent it.
    pub(super) caller: Caller,
}

impl FromRequest<Arc<Serving>> for ImageRequest {
    type Rejection = Response;

    async fn from_request(request: Request, serving: &Arc<Serving>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let id = Extension::<RequestId>::from_request_parts(&mut parts, serving).await;
        let Extension(id) = id.map_err(IntoResponse::into_response)?;
        let target = Target::from_request_parts(&mut parts, serving).await;
        let target = target.map_err(IntoResponse::into_response)?;
        let body = IncomingBody::new(&parts.headers, body);
        let caller = caller(&parts.extensions);
        let call = Call {
            serving: Arc::clone(serving),
            fetcher: parts.extensions.get().cloned(),
            headers: parts.headers,
            id,
            target,
            caller,
        };
        Ok(Self { call, body })
    }
}

/// Who sent a request, as the layers have found.
fn caller(extensions: &Extensions) -> Caller {
    extensions.get::<Caller>().cloned().unwrap_or_default()
}

/// A request that is in flight: a shutdown waits until it is dropped.
pub(crate) struct Entered {
    codings: Codings,
    /// For what precedes the end of the body.
    deadline: Deadline,
    _in_flight: InFlight,
}

/// The body of a request.
pub(crate) struct ReadBody {
    /// Without its content encoding.
    pub(crate) bytes: Bytes,
    /// Counts its bytes, and what is copied from it.
    pub(crate) share: ByteShare,
    /// The deadline of the response.
    pub(crate) deadline: Deadline,
}

/// What a native route needs of the images of a request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// What the forward pass returns besides the logits.
    pub(crate) outputs: Outputs,
    /// Why the request may have only one image, where it may. That image is kept.
    pub(crate) single: Option<&'static str>,
}

/// A request whose images have run.
pub(crate) struct Received<P> {
    pub(crate) parameters: P,
    pub(crate) instance: Arc<Instance>,
    /// In the order of the images.
    pub(crate) outcomes: Vec<Result<ImageOutput, Problem>>,
    /// Whether the response is an array.
    pub(crate) many: bool,
    /// The only image, for [`Needs::single`].
    pub(crate) image: Option<EncodedImage>,
    pub(crate) deadline: Deadline,
    _entered: Entered,
}

impl Call {
    /// A request whose path names no model.
    pub(crate) fn new(serving: Arc<Serving>, head: Parts, id: RequestId) -> Self {
        Self {
            serving,
            fetcher: head.extensions.get().cloned(),
            caller: caller(&head.extensions),
            headers: head.headers,
            id,
            target: Target::default(),
        }
    }

    /// Rejects whatever can be rejected before the model is known: while the server
    /// drains, an unknown content encoding, and while no image can be admitted.
    pub(crate) async fn enter(&self) -> Result<Entered, Problem> {
        let in_flight = self.serving.enter()?;
        let codings = Codings::of(&self.headers)?;
        self.serving.admission().check().await?;
        Ok(Entered {
            codings,
            deadline: Deadline::after(self.time_limit()?),
            _in_flight: in_flight,
        })
    }

    /// The time that the request may take.
    fn time_limit(&self) -> Result<Duration, Problem> {
        timeout::limit(&self.headers, self.serving.limits().request_timeout)
    }

    /// The model of a request; without a name, the default one.
    pub(crate) async fn model(
        &self,
        name: Option<&str>,
        version: Option<u64>,
        entered: &Entered,
        fields: &mut LogFields,
    ) -> Result<Arc<Instance>, Error> {
        let found = request::find(&self.serving, name, version, entered.deadline);
        let instance = found.await?;
        instance.name().clone_into(&mut fields.model);
        fields.version = instance.version();
        Ok(instance)
    }

    /// The body, within the limits.
    pub(crate) async fn read(
        &self,
        body: IncomingBody,
        entered: &Entered,
        fields: &mut LogFields,
    ) -> Result<ReadBody, Problem> {
        let limits = self.serving.limits();
        let mut share = self.serving.admission().bytes();
        let bytes = body.read(limits, &mut share).instrument(trace::body());
        let bytes = bytes.await?;
        fields.bytes = bytes.len();
        let deadline = Deadline::after(self.time_limit()?);
        let bytes = match entered.codings.is_identity() {
            true => bytes,
            false => {
                let codings = entered.codings.clone();
                self.decoded(bytes, codings, &mut share, deadline).await?
            }
        };
        Ok(ReadBody {
            bytes,
            share,
            deadline,
        })
    }

    /// Runs the images.
    pub(crate) async fn run(
        &self,
        instance: &Instance,
        images: Vec<ImageInput>,
        outputs: Outputs,
        schedule: impl Into<Schedule>,
        fields: &mut LogFields,
    ) -> Result<Vec<Outcome>, Error> {
        fields.images = images.len();
        let from = (&*self.serving, &self.caller);
        let outcomes = request::run(from, instance, images, outputs, schedule.into()).await?;
        fields.timings = request::slowest(&outcomes);
        fields.cache = lookup::of_all(outcomes.iter().flatten().map(|output| output.source));
        Ok(outcomes)
    }

    /// Reads a request of a native route and runs its images. `prepare` checks the
    /// parameters against the model, before the body is read.
    pub(crate) async fn receive<Q, P>(
        &self,
        parameters: Result<Q, Problem>,
        prepare: impl FnOnce(Q, &Instance) -> Result<(P, Needs), Problem>,
        body: IncomingBody,
        fields: &mut LogFields,
    ) -> Result<Received<P>, Problem> {
        let entered = self.enter().await?;
        let parameters = parameters?;
        let (name, version) = (self.target.name(), self.target.version()?);
        let instance = self.model(name, version, &entered, fields).await?;
        let (parameters, needs) = prepare(parameters, &instance)?;

        let ReadBody {
            bytes,
            mut share,
            deadline,
        } = self.read(body, &entered, fields).await?;
        let images = self.unpack(bytes, &mut share, deadline).await?;
        let share = Arc::new(share);
        let collected = self.collect(images.files, &share, deadline).await?;
        drop(share);
        let image = needs.only_image(&collected)?;
        let outcomes = self.run_collected(&instance, collected, needs.outputs, deadline, fields);
        Ok(Received {
            parameters,
            outcomes: outcomes.await?,
            instance,
            many: images.many,
            image,
            deadline,
            _entered: entered,
        })
    }

    /// Runs the images that there are. Those that could not be fetched keep their
    /// problem.
    async fn run_collected(
        &self,
        instance: &Instance,
        collected: Vec<Collected>,
        outputs: Outputs,
        deadline: Deadline,
        fields: &mut LogFields,
    ) -> Result<Vec<Result<ImageOutput, Problem>>, Problem> {
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        for Collected { image, is_fetched } in collected {
            missing.push((image.as_ref().err().cloned(), is_fetched));
            inputs.extend(image.ok().map(ImageInput::Encoded));
        }
        let mut outcomes = match inputs.is_empty() {
            true => Vec::new().into_iter(),
            false => {
                let outcomes = self.run(instance, inputs, outputs, deadline, fields);
                outcomes.await?.into_iter()
            }
        };
        let outcomes = missing.into_iter().map(|(problem, is_fetched)| {
            let outcome = match problem {
                Some(problem) => return Err(problem),
                None => outcomes.next().ok_or_else(Problem::internal)?,
            };
            outcome.map_err(|error| match is_fetched {
                true => by_url::of_fetched(self.problem(&error)),
                false => self.problem(&error),
            })
        });
        Ok(outcomes.collect())
    }

    /// The images of the body of a native route.
    async fn unpack(
        &self,
        body: Bytes,
        share: &mut ByteShare,
        deadline: Deadline,
    ) -> Result<Images, Problem> {
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

    /// Runs a job on the thread pool, see [`request::run_job`].
    pub(crate) async fn on_pool<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let done = request::run_job(&self.serving, job, deadline).await;
        done.map_err(|error| self.problem(&error))
    }

    /// Renders an error of the core as a problem. The cause of an internal error is
    /// logged and not returned.
    pub(crate) fn problem(&self, error: &Error) -> Problem {
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
    /// 400 if there are several; that of an image that could not be fetched.
    fn only_image(&self, images: &[Collected]) -> Result<Option<EncodedImage>, Problem> {
        match (self.single, images) {
            (None, _) => Ok(None),
            (Some(_), [only]) => only.image.clone().map(Some),
            (Some(reason), _) => Err(Problem::bad_parameter(reason)),
        }
    }
}

/// The response of a handler, with `Server-Timing` and with what the handler adds
/// to the access log.
pub(crate) fn finish(response: Result<Response, Problem>, fields: LogFields) -> Response {
    let mut response = match response {
        Ok(mut response) => {
            let name = HeaderName::from_static("server-timing");
            response.headers_mut().insert(name, server_timing(&fields));
            add_cache(&mut response, &fields);
            response
        }
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(fields);
    response
}

/// What the cache found, and the age of what it had.
fn add_cache(response: &mut Response, fields: &LogFields) {
    let Some((found, age)) = fields.cache else {
        return;
    };
    let headers = response.headers_mut();
    let name = HeaderName::from_static("x-cache");
    headers.insert(name, HeaderValue::from_static(found.name()));
    if found == Lookup::Hit {
        headers.insert(header::AGE, age.as_secs().into());
    }
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
