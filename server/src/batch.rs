//! Batching without delay: decoded images wait in one bounded queue, and a
//! worker of the device takes whatever waits there, up to the largest batch,
//! and runs it at once. A lone image is never held back for company. A device
//! that runs several batches at a time has as many workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::Cores;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::classifier::Failure;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::photo::Pixels;

/// Where an image's answer goes. Closed when its client has gone.
pub type Reply = oneshot::Sender<Result<Row, Failure>>;

/// A decoded image on its way to the device.
pub struct Waiting {
    /// `[S, S, 3]`.
    pub pixels: Pixels,
    /// Time its decoding took.
    pub decode: Duration,
    /// Time it waited for a core before that.
    pub core_wait: Duration,
    /// When it began to wait for the device.
    pub since: Instant,
    /// Where the answer goes.
    pub reply: Reply,
    /// Its place among the admitted; given back with the answer.
    pub permit: Permit,
}

impl Waiting {
    /// Ends the image's way. Its place is free before its client knows, so a
    /// client that sends the next image at once finds it.
    fn end(self, outcome: Result<Row, Failure>) {
        drop(self.permit);
        // A client that has gone needs no answer.
        let _ = self.reply.send(outcome);
    }
}

/// One image's answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// `[classes]`.
    pub logits: Vec<f32>,
    /// Where its time went.
    pub timings: Timings,
}

/// Where an image's time went between its arrival and its logits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Bytes to pixels.
    pub decode: Duration,
    /// Waiting, for a core and for the device.
    pub queue: Duration,
    /// The forward pass of its batch.
    pub forward: Duration,
}

/// The way to the device. When the last clone is dropped, the workers answer
/// what still waits and end.
#[derive(Clone)]
pub struct Queue {
    sender: SyncSender<Waiting>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// Starts the device's workers, one for each of the network's lanes.
    ///
    /// `cores` are given where the forward pass runs on them. There it takes
    /// its turn among the images to be decoded, so that under load they are
    /// decoded first and run together.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        network: Arc<dyn Network>,
        cores: Option<Cores>,
        capacity: usize,
        max_batch: usize,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity);
        let receiver = Arc::new(Mutex::new(receiver));
        // on the cores a pass has all of them to itself
        let workers = match cores {
            Some(_) => 1,
            None => network.lanes().max(1),
        };
        for index in 0..workers {
            let worker = Worker {
                network: Arc::clone(&network),
                receiver: Arc::clone(&receiver),
                max_batch,
                metrics: Arc::clone(&metrics),
            };
            let cores = cores.clone();
            std::thread::Builder::new()
                .name(format!("device-{index}"))
                .spawn(move || worker.run(cores.as_ref()))?;
        }
        Ok(Self { sender, metrics })
    }

    /// Appends an image. One that cannot be taken is answered here.
    pub fn push(&self, image: Waiting) {
        self.metrics.queue_depth.inc();
        if let Err(refused) = self.sender.try_send(image) {
            self.metrics.queue_depth.dec();
            let (image, failure) = match refused {
                TrySendError::Full(image) => (image, Failure::Overloaded),
                TrySendError::Disconnected(image) => (image, Failure::Stopped),
            };
            image.end(Err(failure));
        }
    }
}

struct Worker {
    network: Arc<dyn Network>,
    receiver: Arc<Mutex<Receiver<Waiting>>>,
    max_batch: usize,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn run(self, cores: Option<&Cores>) {
        match cores {
            Some(cores) => self.run_on(cores),
            None => self.run_beside(),
        }
    }

    /// The worker of a network that computes on the cores.
    fn run_on(mut self, cores: &Cores) {
        loop {
            let first = self.waiting().recv();
            let Ok(first) = first else { return };
            match self.turn_in_line(cores, first) {
                Some(worker) => self = worker,
                None => return,
            }
        }
    }

    /// A worker of a device of its own. It waits with the queue in its hand:
    /// the next worker looks once this one has its batch.
    fn run_beside(self) {
        loop {
            let batch = {
                let waiting = self.waiting();
                let Ok(first) = waiting.recv() else { return };
                self.take(&waiting, first)
            };
            self.classify(batch);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Receiver<Waiting>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns to `first` once a core has done what was queued for it before:
    /// the images that are decoded by then join the batch.
    fn turn_in_line(self, cores: &Cores, first: Waiting) -> Option<Self> {
        let (done, worker) = sync_channel(1);
        cores.spawn(move || drop(done.send(self.turn_to(first))));
        worker.recv().ok()
    }

    fn turn_to(self, first: Waiting) -> Self {
        let batch = self.take(&self.waiting(), first);
        self.classify(batch);
        self
    }

    /// The images that wait, `first` among them, without those whose client
    /// has gone: at most `max_batch`.
    fn take(&self, waiting: &Receiver<Waiting>, first: Waiting) -> Vec<Waiting> {
        let waiting = std::iter::once(first).chain(waiting.try_iter());
        waiting
            .inspect(|_| _ = self.metrics.queue_depth.dec())
            .filter(|image| !image.reply.is_closed())
            .take(self.max_batch)
            .collect()
    }

    /// Runs a batch and answers each image with its own row.
    fn classify(&self, batch: Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        let logits = self.forward(&batch);
        // of a batch that failed too: its lane may be gone
        if let Some(usage) = self.network.take_usage() {
            self.metrics.cards(&usage, self.network.lanes());
        }
        match logits {
            Ok(logits) => {
                let forward = started.elapsed();
                self.metrics.batch(batch.len(), forward);
                // [N, classes] -> N x [classes]
                let rows = logits.chunks_exact(logits.len() / batch.len());
                for (image, row) in batch.into_iter().zip(rows) {
                    self.answer(image, row, started, forward);
                }
            }
            Err(failure) => self.failed(batch, failure),
        }
    }

    /// A batch that failed runs again image by image, so that an image the
    /// network cannot bear takes only itself down. Where the device failed no
    /// image is to blame: all end at once, before a lane is lost for each.
    fn failed(&self, batch: Vec<Waiting>, failure: Failure) {
        let images = batch.len();
        if let Failure::Device(error) = failure {
            tracing::error!(images, %error, "the device failed, and a batch with it");
            for image in batch {
                image.end(Err(Failure::Device(Arc::clone(&error))));
            }
            return;
        }
        match <[Waiting; 1]>::try_from(batch) {
            Ok([image]) => image.end(Err(failure)),
            Err(batch) => {
                tracing::error!(images, %failure, "a batch failed: each image runs alone");
                for image in batch {
                    self.classify(vec![image]);
                }
            }
        }
    }

    /// Logits `[N, classes]` of a batch, or why there are none.
    fn forward(&self, batch: &[Waiting]) -> Result<Vec<f32>, Failure> {
        let pixels: Vec<&[u8]> = batch
            .iter()
            .map(|image| image.pixels.0.as_slice())
            .collect();
        let logits = catch_unwind(AssertUnwindSafe(|| self.network.forward(&pixels)))
            .map_err(|_| Failure::Panicked("forward"))??;
        let expected = batch.len() * self.network.labels().len();
        if expected > 0 && logits.len() == expected && logits.iter().all(|logit| logit.is_finite())
        {
            Ok(logits)
        } else {
            Err(Failure::Logits {
                found: logits.len(),
                expected,
            })
        }
    }

    fn answer(&self, image: Waiting, row: &[f32], started: Instant, forward: Duration) {
        let timings = Timings {
            decode: image.decode,
            queue: image.core_wait + started.saturating_duration_since(image.since),
            forward,
        };
        self.metrics.waited(timings.queue);
        image.end(Ok(Row {
            logits: row.to_vec(),
            timings,
        }));
    }
}
