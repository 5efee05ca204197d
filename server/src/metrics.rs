//! What the server counts, in the Prometheus text format of `/metrics`.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::CLASSIFY;

/// Status under which a request counts whose client left before the answer,
/// as nginx has it.
pub const CLIENT_GONE: u16 = 499;

/// Upper bounds in seconds, from half a millisecond to half a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0,
];

/// Upper bounds of the number of images in a batch.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Counters, gauges and histograms; cheap to update from any thread.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    decode_seconds: Histogram,
    queue_seconds: Histogram,
    forward_seconds: Histogram,
    batch_images: Histogram,
    model: Family<ModelLabels, Gauge>,
    upload_seconds: Counter<f64, AtomicU64>,
    compute_seconds: Counter<f64, AtomicU64>,
    card_memory: Gauge,
    lanes: Gauge,
    /// Images decoded and waiting for the device.
    pub queue_depth: Gauge,
    /// Images between admission and answer.
    pub images_in_flight: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

impl RequestLabels {
    fn new(route: &str, status: u16) -> Self {
        Self {
            route: route.to_owned(),
            status,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    name: String,
    architecture: String,
    device: String,
    dtype: String,
    digest: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("resnet"),
            requests: Family::default(),
            request_seconds: Histogram::new(SECONDS),
            decode_seconds: Histogram::new(SECONDS),
            queue_seconds: Histogram::new(SECONDS),
            forward_seconds: Histogram::new(SECONDS),
            batch_images: Histogram::new(BATCH),
            model: Family::default(),
            upload_seconds: Counter::default(),
            compute_seconds: Counter::default(),
            card_memory: Gauge::default(),
            lanes: Gauge::default(),
            queue_depth: Gauge::default(),
            images_in_flight: Gauge::default(),
        };
        metrics.register();
        // There from the start, so that the first request shows as a rate.
        let first = RequestLabels::new(CLASSIFY, 200);
        drop(metrics.requests.get_or_create(&first));
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests answered, by route and status (499: the client left first)",
            self.requests.clone(),
        );
        for (name, help, histogram) in [
            (
                "request_seconds",
                "Whole time of a request to /classify, its body's arrival included",
                &self.request_seconds,
            ),
            (
                "decode_seconds",
                "Time to turn an image's bytes into the network's pixels",
                &self.decode_seconds,
            ),
            (
                "queue_seconds",
                "Time an image waited for a core and for the device",
                &self.queue_seconds,
            ),
            (
                "forward_seconds",
                "Time of a batch's forward pass",
                &self.forward_seconds,
            ),
            ("batch_images", "Images in a batch", &self.batch_images),
        ] {
            registry.register(name, help, histogram.clone());
        }
        registry.register(
            "queue_depth",
            "Images decoded and waiting for the device",
            self.queue_depth.clone(),
        );
        registry.register(
            "images_in_flight",
            "Images between admission and answer",
            self.images_in_flight.clone(),
        );
        for (name, help, seconds) in [
            (
                "card_upload_seconds",
                "Time of CUDA cards, by their clocks, from the start of a batch's first copy of pixels \
                 to the end of its last, with the waits for the host in between",
                &self.upload_seconds,
            ),
            (
                "card_compute_seconds",
                "Time of CUDA cards, by their clocks, from the last copied pixel to the logits on the host",
                &self.compute_seconds,
            ),
        ] {
            registry.register(name, help, seconds.clone());
        }
        registry.register(
            "card_memory_bytes",
            "Memory in use on the CUDA cards, by anyone",
            self.card_memory.clone(),
        );
        registry.register(
            "card_lanes",
            "Forward passes that the CUDA cards can run at the same time",
            self.lanes.clone(),
        );
        registry.register(
            "model_info",
            "The loaded model; always 1",
            self.model.clone(),
        );
    }

    /// A request to `route` was answered with `status`.
    pub fn answered(&self, route: &str, status: u16) {
        let labels = RequestLabels::new(route, status);
        self.requests.get_or_create(&labels).inc();
    }

    /// A request to `/classify` took so long, from its head to its answer.
    pub fn classified(&self, took: Duration) {
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// An image was decoded, well or not.
    pub fn decoded(&self, took: Duration) {
        self.decode_seconds.observe(took.as_secs_f64());
    }

    /// An image's waiting is over.
    pub fn waited(&self, waited: Duration) {
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// A batch of `images` went through the network.
    pub fn batch(&self, images: usize, took: Duration) {
        self.batch_images.observe(images as f64);
        self.forward_seconds.observe(took.as_secs_f64());
    }

    /// CUDA cards were used so since this was last called.
    pub fn cards(&self, usage: &model::Usage, lanes: usize) {
        self.upload_seconds.inc_by(usage.upload.as_secs_f64());
        self.compute_seconds.inc_by(usage.compute.as_secs_f64());
        self.card_memory.set(usage.memory as i64);
        self.lanes.set(lanes as i64);
    }

    /// The model that `resnet_model_info` names.
    pub fn model(&self, card: &model::Card) {
        let labels = ModelLabels {
            name: card.name.clone(),
            architecture: card.architecture.clone(),
            device: card.device.clone(),
            dtype: card.dtype.clone(),
            digest: card.digest.clone(),
        };
        self.model.get_or_create(&labels).set(1);
    }

    /// The page of `/metrics`, in OpenMetrics text.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
