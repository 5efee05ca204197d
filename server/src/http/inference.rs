//! The path of a request of another server's API: from its body, which a parser
//! of that API reads, to the outputs of the network for its images.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use model::Outputs;

use super::body::IncomingBody;
use super::call::{Call, Entered};
use super::document;
use super::observe::LogFields;
use super::problem::{Problem, ProblemType};
use crate::core::admission::ByteShare;
use crate::core::batch::ImageOutput;
use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::request::Deadline;
use crate::core::sent::Sent;

/// The name and the version of a model, where a request has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<u64>,
}

impl Named {
    /// A model without a version: the server chooses it.
    pub(super) fn model(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            version: None,
        }
    }
}

/// What a parser found in a body.
pub(super) struct Parsed<R> {
    /// The model, where the body names it.
    pub(super) model: Option<Named>,
    pub(super) images: Vec<Sent>,
    /// What else the request says.
    pub(super) rest: R,
}

/// A request whose images have run.
pub(super) struct Inferred<R> {
    pub(super) instance: Arc<Instance>,
    /// In the order of the images.
    pub(super) outputs: Vec<ImageOutput>,
    pub(super) rest: R,
    pub(super) deadline: Deadline,
    _entered: Entered,
}

/// Bytes of the response to an image and of each of its classes, as structures and as
/// JSON. Labels are seldom longer.
const IMAGE_BYTES: usize = 1024;
const CLASS_BYTES: usize = 256;

/// Responses up to this size are rendered at once; a larger one is a job of the
/// thread pool.
const SMALL_RESPONSE: usize = 64 << 10;

impl<R: Send + 'static> Inferred<R> {
    /// Bytes of a response that has the best `classes` of each image.
    pub(super) fn size(&self, classes: usize) -> usize {
        let classes = classes.min(self.instance.network().labels().len());
        self.outputs.len() * (IMAGE_BYTES + classes * CLASS_BYTES)
    }

    /// Renders a response of about `size` bytes, which are counted in the share that
    /// the job gets.
    pub(super) async fn render(
        self,
        call: &Call,
        size: usize,
        job: impl FnOnce(&Self, ByteShare) -> Result<Response, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let mut share = call.serving.admission().bytes();
        share.grow(size)?;
        let deadline = self.deadline;
        match size <= SMALL_RESPONSE {
            true => job(&self, share),
            false => call.on_pool(move || job(&self, share), deadline).await?,
        }
    }
}

/// The message of an error in the words of an API, where it has its own.
pub(crate) type Words = fn(&Error) -> Option<String>;

/// One request of an API that has its own words for errors.
pub(crate) struct Inference<'a> {
    pub(crate) call: &'a Call,
    pub(crate) words: Words,
    /// What the forward pass returns besides the logits.
    pub(crate) needed: Outputs,
}

impl<'a> Inference<'a> {
    /// A request for probabilities, with the native words for errors.
    pub(crate) fn new(call: &'a Call) -> Self {
        Self {
            call,
            words: |_| None,
            needed: Outputs::default(),
        }
    }

    /// Reads a body and runs its images on the `model` of the path, or on the one
    /// that the body names. `parse` gets the body and the most images that it may
    /// have. The first error of an image ends the request.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        model: Option<Named>,
        body: IncomingBody,
        parse: impl FnOnce(&Bytes, usize) -> Result<Parsed<R>, String> + Send + 'static,
        fields: &mut LogFields,
    ) -> Result<Inferred<R>, Problem> {
        let call = self.call;
        let entered = call.enter().await?;
        let find = async |named: Named, fields: &mut LogFields| {
            let found = call.model(named.name.as_deref(), named.version, &entered, fields);
            found.await.map_err(|error| self.problem(&error))
        };
        // An unknown model is rejected before the body is read.
        let found = match model {
            Some(named) => Some(find(named, fields).await?),
            None => None,
        };
        let mut read = call.read(body, &entered, fields).await?;
        read.share.grow(document::copies(&read.bytes))?;
        let most = call.serving.limits().max_images;
        let bytes = read.bytes;
        let parsed = call.on_pool(move || parse(&bytes, most), read.deadline);
        let parsed = parsed.await?.map_err(malformed)?;
        let instance = match (parsed.model, found) {
            (Some(named), _) => find(named, fields).await?,
            (None, Some(found)) => found,
            (None, None) => find(Named::default(), fields).await?,
        };
        let (images, share, deadline) = (parsed.images, read.share, read.deadline);
        let outputs = self.outputs(&instance, images, share, deadline, fields);
        Ok(Inferred {
            outputs: outputs.await?,
            instance,
            rest: parsed.rest,
            deadline,
            _entered: entered,
        })
    }

    /// Runs images, whose bytes are counted in `share`. The first error of an image
    /// ends the request.
    pub(crate) async fn outputs(
        &self,
        instance: &Instance,
        images: Vec<Sent>,
        share: ByteShare,
        deadline: Deadline,
        fields: &mut LogFields,
    ) -> Result<Vec<ImageOutput>, Problem> {
        if self.needed.feature_map {
            let maps = instance.network().has_class_maps();
            maps.map_err(|error| self.problem(&Error::from(error)))?;
        }
        let share = Arc::new(share);
        let images = images.into_iter();
        let inputs = images.map(|image| image.into_input(&share)).collect();
        drop(share);
        let outcomes = self
            .call
            .run(instance, inputs, self.needed, deadline, fields);
        let outcomes = outcomes.await.map_err(|error| self.problem(&error))?;
        let outputs = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        outputs.map_err(|error| self.problem(&error))
    }

    /// An error as a problem in the words of the API.
    pub(crate) fn problem(&self, error: &Error) -> Problem {
        in_words(self.call.problem(error), error, self.words)
    }
}

/// The problem of an error in the words of an API, where it has its own.
pub(crate) fn in_words(problem: Problem, error: &Error, words: Words) -> Problem {
    match words(error) {
        Some(words) => problem.with_detail(words),
        None => problem,
    }
}

/// A request that a parser rejected.
pub(crate) fn malformed(reason: String) -> Problem {
    Problem::new(ProblemType::MalformedRequest, reason)
}
