//! The path of an image: decode and preprocess on a core, wait for the
//! device, forward. Every failure on the way ends that image alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use model::Cores;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::batch::{Queue, Reply, Row, Waiting};
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::photo::{self, PhotoError};
use crate::upload::{Base64Error, Upload};

/// Why an image got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client's: the image cannot be read.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// The client's: the image was sent as base64 and is not.
    #[error(transparent)]
    Base64(#[from] Base64Error),
    /// Nobody's: there is no room in the queue.
    #[error("the queue to the device is full")]
    Overloaded,
    /// Ours: the device failed, whatever images it was given.
    #[error("the device failed: {0}")]
    Device(#[source] Arc<model::Error>),
    /// Ours: the network failed, perhaps because of an image.
    #[error("the forward pass failed: {0}")]
    Forward(#[source] model::Error),
    /// Ours: the network answered with the wrong number of logits, or with
    /// logits that are no numbers.
    #[error("the forward pass gave {found} logits, some of them perhaps NaN; expected {expected}")]
    Logits {
        /// Values that came.
        found: usize,
        /// Images times classes.
        expected: usize,
    },
    /// Ours: code panicked.
    #[error("{0} panicked")]
    Panicked(&'static str),
    /// Ours: the device's worker is no more.
    #[error("the device's worker has stopped")]
    Stopped,
}

impl From<model::Error> for Failure {
    fn from(error: model::Error) -> Self {
        match error.is_the_devices() {
            true => Self::Device(Arc::new(error)),
            false => Self::Forward(error),
        }
    }
}

/// A network with the cores and the queue that feed it.
pub struct Classifier {
    network: Arc<dyn Network>,
    cores: Cores,
    photo_limits: photo::Limits,
    queue: Queue,
    metrics: Arc<Metrics>,
}

impl Classifier {
    /// Starts the device's worker for `network` and runs a grey image through
    /// it, so that the first request finds everything warm.
    ///
    /// # Errors
    /// When the system refuses a thread or the network cannot run.
    pub fn start(
        network: Arc<dyn Network>,
        cores: Cores,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        warm_up(network.as_ref(), &cores)?;
        metrics.model(network.card());
        let on_cores = network.card().device == "cpu";
        let queue = Queue::start(
            Arc::clone(&network),
            on_cores.then(|| cores.clone()),
            limits.queue,
            limits.max_batch,
            Arc::clone(&metrics),
        )?;
        Ok(Self {
            network,
            cores,
            photo_limits: limits.photo,
            queue,
            metrics,
        })
    }

    /// The network behind it.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// Logits of one image. Dropping the future before it is done tells every
    /// later step not to bother.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn classify(&self, upload: Upload, permit: Permit) -> Result<Row, Failure> {
        let (reply, answer) = oneshot::channel();
        let decode = Decode {
            network: Arc::clone(&self.network),
            limits: self.photo_limits,
            queue: self.queue.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let arrived = Instant::now();
        self.cores
            .spawn(move || decode.run(upload, permit, reply, arrived));
        answer.await.map_err(|_| Failure::Stopped)?
    }

    /// Runs a short job on a core, away from the threads that serve sockets.
    ///
    /// # Errors
    /// When the job panics.
    pub async fn on_core<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, result) = oneshot::channel();
        self.cores.spawn(move || {
            if sender.is_closed() {
                return;
            }
            // A panic drops the sender, which is the answer.
            let _ = catch_unwind(AssertUnwindSafe(|| sender.send(job())));
        });
        result.await.map_err(|_| Failure::Panicked("parsing"))
    }
}

/// Why a classifier cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The network does not run.
    #[error("the warm-up failed: {0}")]
    WarmUp(#[from] model::Error),
    /// The system refused a thread.
    #[error("the device's worker cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

fn warm_up(network: &dyn Network, cores: &Cores) -> Result<(), model::Error> {
    let side = network.card().input_size;
    let grey = vec![128_u8; side * side * 3]; // [S, S, 3]
    cores.run(|| network.forward(&[&grey])).map(drop)
}

/// What the job that decodes an image needs.
struct Decode {
    network: Arc<dyn Network>,
    limits: photo::Limits,
    queue: Queue,
    metrics: Arc<Metrics>,
}

impl Decode {
    /// Bytes -> pixels `[S, S, 3]` -> the queue.
    fn run(self, upload: Upload, permit: Permit, reply: Reply, arrived: Instant) {
        if reply.is_closed() {
            return;
        }
        let started = Instant::now();
        let read = || -> Result<photo::Pixels, Failure> {
            let bytes = upload.bytes()?;
            Ok(photo::read(&bytes, self.network.recipe(), &self.limits)?)
        };
        let pixels =
            catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Failure::Panicked("decoding")));
        drop(upload);
        let decode = started.elapsed();
        self.metrics.decoded(decode);
        match pixels {
            Ok(pixels) => self.queue.push(Waiting {
                pixels,
                decode,
                core_wait: started - arrived,
                since: Instant::now(),
                reply,
                permit,
            }),
            Err(failure) => {
                // First the place, then the answer: see `Waiting::end`.
                drop(permit);
                let _ = reply.send(Err(failure));
            }
        }
    }
}
