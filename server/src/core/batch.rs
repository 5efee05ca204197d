//! Dynamic batching without a delay: prepared images wait in one bounded queue
//! for each model. A worker takes whatever waits there, up to the largest
//! batch, and runs it at once; a single image is never held back. A device
//! that runs several batches at the same time has as many workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use model::{Output, Outputs};
use preprocess::Crop;
use tokio::sync::oneshot;

use super::cache::lookup::Source;
use super::error::Error;
use super::image::{Frame, Prepared};
use super::labels::ModelLabels;
use super::line::Line;
use super::memory::release_free_memory;
use super::metrics::Metrics;
use super::network::Network;
use super::round_robin::Position;
use super::scheduler::Flow;
use super::spans::{self, ImageSpans};
use super::statistics::{Statistics, Timings};

/// Where an image's result goes. Closed when its client has disconnected.
pub type Reply = oneshot::Sender<Result<ImageOutput, Error>>;

/// A prepared image that waits for the device.
pub struct Waiting {
    /// The image.
    pub image: Prepared,
    /// What is wanted besides the logits.
    pub outputs: Outputs,
    /// Time its decoding took.
    pub decode: Duration,
    /// Time it waited for a thread before that.
    pub thread_wait: Duration,
    /// When it began to wait for the device.
    pub since: Instant,
    /// Its place in the order of the images.
    pub position: Position,
    /// Whether it is the only image of its client.
    pub is_alone: bool,
    /// Where the result goes.
    pub reply: Reply,
    /// Its spans, if traces are exported.
    pub spans: Option<Box<ImageSpans>>,
}

impl Waiting {
    /// Sends the result.
    fn finish(self, outcome: Result<ImageOutput, Error>) {
        // They end before those of the request.
        drop(self.spans);
        // A client that has disconnected needs no result.
        let _ = self.reply.send(outcome);
    }
}

/// The result of one image.
#[derive(Clone, Debug)]
pub struct ImageOutput {
    /// `[classes]`.
    pub logits: Vec<f32>,
    /// `[C]`, where it was asked for.
    pub embedding: Option<Vec<f32>>,
    /// `[H, W, C]`, where it was asked for.
    pub feature_map: Option<Vec<f32>>,
    /// The part of the photo that the network saw.
    pub crop: Crop,
    /// How long each step took.
    pub timings: Timings,
    /// Where it is from, if the cache was asked.
    pub source: Option<Source>,
}

/// What the workers of one model share.
pub struct BatchContext {
    /// The model.
    pub network: Arc<dyn Network>,
    /// Images of the largest batch.
    pub max_batch: usize,
    /// The model's share of the CPU.
    pub flow: Flow,
    /// Labels of its metrics.
    pub labels: ModelLabels,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// The counts of this instance.
    pub statistics: Arc<Statistics>,
}

/// The queue to the device. When the last clone is dropped, the workers finish
/// the images that still wait, and end.
#[derive(Clone)]
pub struct Queue(Arc<Entrance>);

struct Entrance(Arc<Line>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Queue {
    /// Starts the workers of a model.
    ///
    /// A forward pass on the CPU is a job of the model's flow, like the
    /// decoding of its images. Under load it therefore runs after the images
    /// that can join its batch are decoded.
    ///
    /// # Errors
    /// When the operating system cannot start a thread.
    pub fn start(context: BatchContext, capacity: usize) -> std::io::Result<Self> {
        let line = Arc::new(Line::new(capacity, Arc::clone(&context.metrics)));
        let context = Arc::new(context);
        let on_cpu = context.network.info().device.is_cpu();
        // A forward pass on the CPU uses all threads: one worker is enough.
        let workers = match on_cpu {
            true => 1,
            false => context.network.streams().max(1),
        };
        for index in 0..workers {
            let worker = Worker {
                context: Arc::clone(&context),
                line: Arc::clone(&line),
            };
            std::thread::Builder::new()
                .name(format!("batch-{index}"))
                .spawn(move || {
                    match on_cpu {
                        true => worker.run_on_pool(),
                        false => worker.run_on_device(),
                    }
                    // The last worker drops the network.
                    release_free_memory();
                })?;
        }
        Ok(Self(Arc::new(Entrance(line))))
    }

    /// Appends an image, or sends it an error at once.
    pub fn push(&self, image: Waiting) {
        if let Err(image) = self.0.0.push(image) {
            image.finish(Err(Error::QueueFull));
        }
    }

    /// The images that wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.0.length()
    }

    /// Removes an image whose client has disconnected.
    pub fn remove(&self, position: Position) {
        self.0.0.remove(position);
    }
}

struct Worker {
    context: Arc<BatchContext>,
    line: Arc<Line>,
}

impl Worker {
    /// The worker of a network on the CPU: each batch is a job of the pool.
    fn run_on_pool(mut self) {
        while self.line.wait() {
            match self.run_as_job() {
                Some(worker) => self = worker,
                None => return,
            }
        }
    }

    /// A worker of a GPU.
    fn run_on_device(self) {
        while self.line.wait() {
            let _working = self.context.flow.progress().begin();
            self.infer_all(self.line.take(self.context.max_batch));
        }
    }

    /// Runs the images that wait as a job: those that are decoded before the job
    /// starts join the batch.
    fn run_as_job(self) -> Option<Self> {
        let (done, worker) = sync_channel(1);
        let flow = self.context.flow.clone();
        let line = Arc::clone(&self.line);
        let patience = self.context.max_batch.saturating_sub(line.length());
        flow.spawn_batch(
            patience,
            move || line.first_alone(),
            move || {
                self.infer_all(self.line.take_alone_first(self.context.max_batch));
                drop(done.send(self));
            },
        );
        worker.recv().ok()
    }

    /// Runs the images in one forward pass, or in two if some are pixels and others
    /// are planes.
    fn infer_all(&self, images: Vec<Waiting>) {
        let is_pixels = |image: &Waiting| matches!(image.image.frame, Frame::Pixels(_));
        let (pixels, planes) = images.into_iter().partition(is_pixels);
        self.infer(pixels);
        self.infer(planes);
    }

    /// Runs a batch, all of whose images are of one kind, and sends each image its
    /// own result.
    fn infer(&self, mut batch: Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        let context = &self.context;
        let started = Instant::now();
        let span = spans::batch(&context.labels, &mut batch, |image| {
            image.spans.as_deref_mut()
        });
        let output = spans::forward(&span).in_scope(|| self.forward(&batch));
        spans::ran(span, output.as_ref().err());
        // Also after an error: a stream may have been lost.
        if let Some(usage) = context.network.take_usage() {
            context.metrics.gpus(&usage, context.network.streams());
        }
        match output {
            Ok(output) => {
                let forward = started.elapsed();
                context.metrics.batch(&context.labels, batch.len(), forward);
                context.statistics.batch();
                self.distribute(batch, &output, started, forward);
            }
            Err(error) => self.failed(batch, error),
        }
    }

    /// The images of a failed batch run again one by one, so that an image that
    /// makes the network fail affects only itself. An error of the device is no
    /// image's: then all images of the batch end with it at once.
    fn failed(&self, batch: Vec<Waiting>, error: Error) {
        let images = batch.len();
        let model = &self.context.labels.model;
        if matches!(error, Error::Device(_)) {
            tracing::error!(model, images, %error, "the device failed during a batch");
            for image in batch {
                image.finish(Err(error.clone()));
            }
            return;
        }
        match <[Waiting; 1]>::try_from(batch) {
            Ok([image]) => image.finish(Err(error)),
            Err(batch) => {
                tracing::error!(model, images, %error, "a batch failed; its images run one by one");
                for image in batch {
                    self.infer(vec![image]);
                }
            }
        }
    }

    /// The outputs of a batch, checked for their number and for finite logits.
    fn forward(&self, batch: &[Waiting]) -> Result<Output, Error> {
        let network = &self.context.network;
        let outputs = batch
            .iter()
            .fold(Outputs::default(), |all, image| all | image.outputs);
        let (mut pixels, mut planes) = (Vec::new(), Vec::new());
        for image in batch {
            match &image.image.frame {
                Frame::Pixels(rgb) => pixels.push(&rgb[..]),
                Frame::Planes(values) => planes.extend_from_slice(values),
            }
        }
        let run = || match pixels.is_empty() {
            true => network.forward_planes(&planes, outputs),
            false => network.forward(&pixels, outputs),
        };
        let output = catch_unwind(AssertUnwindSafe(run))
            .map_err(|_| Error::Panicked("the forward pass"))??;
        let logits = &output.logits;
        let expected = batch.len() * network.labels().len();
        let finite = logits.iter().all(|logit| logit.is_finite());
        if expected == 0 || logits.len() != expected || (!finite && planes.is_empty()) {
            return Err(Error::Logits {
                found: logits.len(),
                expected,
            });
        }
        match finite {
            true => Ok(output),
            // The client chose the values.
            false => Err(Error::InputValues("they are too large for the network")),
        }
    }

    /// `[N, ...]` -> N results.
    fn distribute(
        &self,
        batch: Vec<Waiting>,
        output: &Output,
        started: Instant,
        forward: Duration,
    ) {
        let n = batch.len();
        let part = |values: &[f32], i: usize| {
            let size = values.len() / n;
            values[i * size..(i + 1) * size].to_vec()
        };
        let optional = |wanted: bool, values: &Option<Vec<f32>>, i: usize| match values {
            Some(values) if wanted => Some(part(values, i)),
            _ => None,
        };
        for (i, image) in batch.into_iter().enumerate() {
            let timings = Timings {
                decode: image.decode,
                queue: image.thread_wait + started.saturating_duration_since(image.since),
                forward,
            };
            self.context
                .metrics
                .waited(&self.context.labels, timings.queue);
            let result = ImageOutput {
                logits: part(&output.logits, i),
                embedding: optional(image.outputs.embedding, &output.embedding, i),
                feature_map: optional(image.outputs.feature_map, &output.feature_map, i),
                crop: image.image.crop,
                timings,
                source: None,
            };
            image.finish(Ok(result));
        }
    }
}
