//! A loaded version of a model, with the queue that feeds it: decode and
//! preprocess on a thread of the pool, wait for the device, forward pass. An
//! error on the way ends that image only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use model::Outputs;
use tokio::sync::oneshot;
use tracing::Span;

use super::admission::Permit;
use super::answer::Interpretation;
use super::batch::{BatchContext, ImageOutput, Queue, Reply, Waiting};
use super::cache::digest::{Digest, of_parts};
use super::category::Categories;
use super::error::Error;
use super::image::{ImageInput, Prepared, UNKNOWN};
use super::labels::ModelLabels;
use super::limits::Limits;
use super::metrics::Metrics;
use super::model_metrics::Decoded;
use super::network::Network;
use super::round_robin::{Class, Position, Turn};
use super::scheduler::{Flow, Scheduler};
use super::spans::{self, ImageSpans};
use super::statistics::Statistics;
use super::tensor::FloatRange;

/// A loaded version of a model. Dropping the last reference ends its workers
/// and frees its memory, once the images in its queue are done.
pub struct Instance {
    id: u64,
    identity: Digest,
    labels: Arc<ModelLabels>,
    network: Arc<dyn Network>,
    categories: Categories,
    decode_limits: preprocess::Limits,
    flow: Flow,
    queue: Queue,
    memory: usize,
    metrics: Arc<Metrics>,
    statistics: Arc<Statistics>,
    floats: FloatRange,
}

/// Why an instance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The network does not run.
    #[error("the warm-up run failed: {0}")]
    WarmUp(#[from] model::Error),
    /// The operating system cannot start a thread.
    #[error("the batch worker cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

impl Instance {
    /// Runs a grey image through `network`, so that the first request finds
    /// memory allocated and caches filled, and starts its workers.
    ///
    /// # Errors
    /// When the network cannot run, or a thread cannot start.
    pub fn start(
        labels: ModelLabels,
        network: Arc<dyn Network>,
        max_batch: usize,
        limits: &Limits,
        scheduler: &Scheduler,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        warm_up(network.as_ref(), scheduler)?;
        let flow = scheduler.flow();
        let statistics = Arc::<Statistics>::default();
        let context = BatchContext {
            network: Arc::clone(&network),
            max_batch,
            flow: flow.clone(),
            labels: labels.clone(),
            metrics: Arc::clone(&metrics),
            statistics: Arc::clone(&statistics),
        };
        let queue = Queue::start(context, limits.max_in_flight)?;
        let memory = network.memory(max_batch);
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            identity: identity(&labels, network.as_ref()),
            labels: Arc::new(labels),
            categories: Categories::new(network.labels(), network.hierarchy()),
            network,
            decode_limits: limits.decode,
            flow,
            queue,
            memory,
            metrics,
            statistics,
            floats: FloatRange::default(),
        })
    }

    /// The same instance, whose clients send such floats as images.
    #[must_use]
    pub fn with_floats(mut self, floats: FloatRange) -> Self {
        self.floats = floats;
        self
    }

    /// What floats mean that clients send as an image.
    #[must_use]
    pub fn floats(&self) -> FloatRange {
        self.floats
    }

    /// A number that no other instance of this process has, also not one of the same
    /// files.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What its answers depend on besides the image and the request: the same for the
    /// same model on another server.
    #[must_use]
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// Name and version, as metrics carry them.
    #[must_use]
    pub fn labels(&self) -> &ModelLabels {
        &self.labels
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.labels.model
    }

    /// Version of the model.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.labels.version
    }

    /// `NAME/VERSION`, as error texts name an instance.
    #[must_use]
    pub fn name_and_version(&self) -> String {
        format!("{}/{}", self.name(), self.version())
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// Its classes and their categories.
    #[must_use]
    pub fn categories(&self) -> &Categories {
        &self.categories
    }

    /// What its logits mean.
    #[must_use]
    pub fn interpretation(&self) -> Interpretation<'_> {
        Interpretation {
            labels: self.network.labels(),
            categories: &self.categories,
            scale: self.network.scale(),
        }
    }

    /// Bytes of its weights and of the feature maps of its largest batch.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Its decoded images that wait for the device.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.length()
    }

    /// What it has done.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The outputs of one image. Dropping the future cancels the steps that have
    /// not started, and releases the permit and the memory of the image at once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn infer(
        &self,
        image: ImageInput,
        outputs: Outputs,
        permit: Permit,
        rank: Rank,
    ) -> Result<ImageOutput, Error> {
        let (reply, result) = oneshot::channel();
        let image = Arc::new(Mutex::new(Some(image)));
        let span = spans::image(rank.before);
        let decode = DecodeJob {
            image: Arc::clone(&image),
            network: Arc::clone(&self.network),
            limits: self.decode_limits,
            outputs,
            is_alone: rank.of == 1 && rank.before == 0,
            queue: self.queue.clone(),
            labels: Arc::clone(&self.labels),
            metrics: Arc::clone(&self.metrics),
            span,
        };
        let arrived = Instant::now();
        let turn = Turn {
            class: rank.class,
            rank: rank.before,
        };
        let position = self.flow.spawn_image(turn, move |position| {
            decode.run(position, reply, arrived);
        });
        let _stay = Stay {
            image,
            queue: &self.queue,
            flow: &self.flow,
            position,
            _permit: permit,
        };
        result.await.map_err(|_| Error::Stopped)?
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// See [`Instance::identity`].
fn identity(labels: &ModelLabels, network: &dyn Network) -> Digest {
    let info = network.info();
    let model = format!(
        "{}/{} {} {} {} {:?} {:?}",
        labels.model,
        labels.version,
        info.digest,
        info.architecture,
        info.dtype,
        network.preprocessing(),
        network.scale(),
    );
    let classes = format!("{:?} {:?}", network.labels(), network.hierarchy());
    of_parts([model.as_bytes(), classes.as_bytes()])
}

/// The place of an image among those of its client.
#[derive(Clone, Copy, Debug)]
pub struct Rank {
    /// Images of its client before it: of the same request, and of others with the
    /// same key.
    pub before: usize,
    /// All images of the request.
    pub of: usize,
    /// The class of the request.
    pub class: Class,
}

impl Rank {
    /// The only image of its request.
    pub const ALONE: Self = Self {
        before: 0,
        of: 1,
        class: Class::Normal,
    };
}

/// An image in flight. When it is dropped, nothing of it waits any more.
struct Stay<'a> {
    image: Arc<Mutex<Option<ImageInput>>>,
    queue: &'a Queue,
    flow: &'a Flow,
    position: Position,
    _permit: Permit,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        drop(taken(&self.image));
        self.queue.remove(self.position);
        self.flow.left(self.position);
    }
}

fn taken(image: &Mutex<Option<ImageInput>>) -> Option<ImageInput> {
    image.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Self { labels, .. } = self;
        tracing::debug!(model = labels.model, version = labels.version, "released");
    }
}

fn warm_up(network: &dyn Network, scheduler: &Scheduler) -> Result<(), model::Error> {
    let side = network.info().input_size;
    let grey = vec![128_u8; side * side * 3]; // [S, S, 3]
    let forward = || network.forward(&[&grey], Outputs::default());
    scheduler.pool().run(forward).map(drop)
}

/// What the job that prepares an image needs.
struct DecodeJob {
    /// `None` after the client has disconnected.
    image: Arc<Mutex<Option<ImageInput>>>,
    network: Arc<dyn Network>,
    limits: preprocess::Limits,
    outputs: Outputs,
    is_alone: bool,
    queue: Queue,
    labels: Arc<ModelLabels>,
    metrics: Arc<Metrics>,
    /// Of the image, until it has a result.
    span: Span,
}

impl DecodeJob {
    /// A file or numbers -> pixels or planes -> the queue of the device.
    fn run(self, position: Position, reply: Reply, arrived: Instant) {
        let Some(image) = taken(&self.image) else {
            return;
        };
        let started = Instant::now();
        let span = spans::decode(&self.span);
        let mut format = UNKNOWN;
        let prepare = || -> Result<Prepared, Error> {
            // a client that has left, or whose deadline has passed, closes the reply
            let is_cancelled = || reply.is_closed();
            let preprocessing = self.network.preprocessing();
            image.prepare(preprocessing, &self.limits, &is_cancelled, &mut format)
        };
        let prepared = span.in_scope(|| catch_unwind(AssertUnwindSafe(prepare)));
        let prepared = prepared.unwrap_or(Err(Error::Panicked("decoding")));
        let decode = started.elapsed();
        spans::decoded(span, format, prepared.as_ref().err());
        let decoded = Decoded {
            format,
            is_valid: prepared.is_ok(),
            took: decode,
        };
        self.metrics.decoded(&self.labels, decoded);
        match prepared {
            Ok(image) => self.queue.push(Waiting {
                image,
                outputs: self.outputs,
                decode,
                thread_wait: started - arrived,
                since: Instant::now(),
                position,
                is_alone: self.is_alone,
                reply,
                spans: ImageSpans::queued(self.span),
            }),
            Err(error) => {
                drop(self.span);
                // A client that has disconnected needs no result.
                let _ = reply.send(Err(error));
            }
        }
    }
}
