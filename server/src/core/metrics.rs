//! What the server counts, in the OpenMetrics text format that Prometheus
//! scrapes.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::key_metrics::KeyMetrics;
use super::totals::Totals;

/// Upper bounds in seconds, from half a millisecond to half a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0,
];

/// Upper bounds of the number of images in a batch.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A histogram for each combination of labels.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds<L: Clone + Eq + std::hash::Hash>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

/// Counters, gauges and histograms; cheap to update from any thread.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<RouteLabels>,
    decode_seconds: Histograms<ModelLabels>,
    queue_seconds: Histograms<ModelLabels>,
    forward_seconds: Histograms<ModelLabels>,
    batch_images: Histograms<ModelLabels>,
    model_info: Family<InfoLabels, Gauge>,
    model_loads: Family<LoadLabels, Counter>,
    model_memory: Family<ModelLabels, Gauge>,
    gpu_upload_seconds: Counter<f64, AtomicU64>,
    gpu_compute_seconds: Counter<f64, AtomicU64>,
    gpu_memory: Gauge,
    gpu_streams: Gauge,
    connections_closed: Family<ReasonLabels, Counter>,
    log_lines_dropped: Counter,
    log_source: OnceLock<fn() -> u64>,
    /// What each API key has sent.
    pub keys: KeyMetrics,
    /// The sums of each model.
    pub totals: Totals,
    /// Open connections.
    pub connections: Gauge,
    /// Decoded images that wait for the device.
    pub queue_depth: Gauge,
    /// Images that are admitted and have no result yet.
    pub images_in_flight: Gauge,
}

/// The model that a sample belongs to.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ModelLabels {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LoadLabels {
    model: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InfoLabels {
    model: String,
    version: u64,
    architecture: String,
    device: String,
    dtype: String,
    digest: String,
}

impl InfoLabels {
    fn new(of: &ModelLabels, info: &model::ModelInfo) -> Self {
        Self {
            model: of.model.clone(),
            version: of.version,
            architecture: info.architecture.clone(),
            device: info.device.to_string(),
            dtype: info.dtype.to_string(),
            digest: info.digest.clone(),
        }
    }
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
            request_seconds: seconds(),
            decode_seconds: seconds(),
            queue_seconds: seconds(),
            forward_seconds: seconds(),
            batch_images: Family::new_with_constructor(|| Histogram::new(BATCH)),
            model_info: Family::default(),
            model_loads: Family::default(),
            model_memory: Family::default(),
            gpu_upload_seconds: Counter::default(),
            gpu_compute_seconds: Counter::default(),
            gpu_memory: Gauge::default(),
            gpu_streams: Gauge::default(),
            connections_closed: Family::default(),
            log_lines_dropped: Counter::default(),
            log_source: OnceLock::new(),
            keys: KeyMetrics::default(),
            totals: Totals::default(),
            connections: Gauge::default(),
            queue_depth: Gauge::default(),
            images_in_flight: Gauge::default(),
        };
        metrics.register_requests();
        metrics.register_process();
        metrics.register_models();
        metrics.register_gpus();
        metrics
    }

    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Responses by route, status and protocol (499: the client disconnected first)",
            self.requests.clone(),
        );
        registry.register(
            "request_seconds",
            "Time from a request's headers to its response, by route and protocol",
            self.request_seconds.clone(),
        );
        self.keys.register(registry);
        registry.register(
            "queue_depth",
            "Decoded images that wait for the device",
            self.queue_depth.clone(),
        );
        registry.register(
            "images_in_flight",
            "Images that are admitted and have no result yet",
            self.images_in_flight.clone(),
        );
    }

    fn register_process(&mut self) {
        let registry = &mut self.registry;
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_closed",
            "Connections closed by the server, by reason (gave_way, unread, per_address)",
            self.connections_closed.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Lines of the log that could not be written",
            self.log_lines_dropped.clone(),
        );
    }

    fn register_models(&mut self) {
        let registry = &mut self.registry;
        for (name, help, histogram) in [
            (
                "decode_seconds",
                "Time to decode and preprocess an image",
                &self.decode_seconds,
            ),
            (
                "queue_seconds",
                "Time that an image waited for a thread and for the device",
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
            "model_info",
            "The loaded models; always 1",
            self.model_info.clone(),
        );
        registry.register(
            "model_loads",
            "Loads of a model by result (loaded, failed)",
            self.model_loads.clone(),
        );
        registry.register(
            "model_memory_bytes",
            "Memory of a loaded model: weights, and feature maps of its largest batch",
            self.model_memory.clone(),
        );
    }

    fn register_gpus(&mut self) {
        let registry = &mut self.registry;
        for (name, help, seconds) in [
            (
                "gpu_upload_seconds",
                "GPU time from the start of a batch's first copy of pixels to the end of its last, \
                 including waits for the host",
                &self.gpu_upload_seconds,
            ),
            (
                "gpu_compute_seconds",
                "GPU time from the last copied pixel to the logits on the host",
                &self.gpu_compute_seconds,
            ),
        ] {
            registry.register(name, help, seconds.clone());
        }
        registry.register(
            "gpu_memory_bytes",
            "Memory in use on the GPUs, by all processes",
            self.gpu_memory.clone(),
        );
        registry.register(
            "gpu_streams",
            "Forward passes that the GPUs can run at the same time",
            self.gpu_streams.clone(),
        );
    }

    /// Creates the metrics of `route` and `status` at zero, so that the first
    /// request already shows as a rate.
    pub fn expect(&self, protocol: &'static str, route: &str, status: u16) {
        let route = route.to_owned();
        let labels = RequestLabels {
            route: route.clone(),
            status,
            protocol,
        };
        drop(self.requests.get_or_create(&labels));
        let labels = RouteLabels { route, protocol };
        drop(self.request_seconds.get_or_create(&labels));
    }

    /// A request to `route` was answered with `status` after `took`.
    pub fn responded(&self, protocol: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        let labels = RequestLabels {
            route: route.clone(),
            status,
            protocol,
        };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds
            .get_or_create(&RouteLabels { route, protocol })
            .observe(took.as_secs_f64());
    }

    /// The server closed a connection for this reason.
    pub fn connection_closed(&self, reason: &'static str) {
        let labels = ReasonLabels { reason };
        self.connections_closed.get_or_create(&labels).inc();
    }

    /// Where the number of dropped lines of the log comes from.
    pub fn count_dropped_lines(&self, source: fn() -> u64) {
        // The first source stays.
        let _ = self.log_source.set(source);
    }

    /// An image was decoded, or found to be invalid.
    pub fn decoded(&self, model: &ModelLabels, took: Duration) {
        let seconds = self.decode_seconds.get_or_create(model);
        seconds.observe(took.as_secs_f64());
    }

    /// An image has waited for a thread and for the device.
    pub fn waited(&self, model: &ModelLabels, waited: Duration) {
        let seconds = self.queue_seconds.get_or_create(model);
        seconds.observe(waited.as_secs_f64());
    }

    /// A batch of `images` has run.
    pub fn batch(&self, model: &ModelLabels, images: usize, took: Duration) {
        self.batch_images
            .get_or_create(model)
            .observe(images as f64);
        let seconds = self.forward_seconds.get_or_create(model);
        seconds.observe(took.as_secs_f64());
    }

    /// What GPUs were used for since the last call.
    pub fn gpus(&self, usage: &model::Usage, streams: usize) {
        self.gpu_upload_seconds.inc_by(usage.upload.as_secs_f64());
        self.gpu_compute_seconds.inc_by(usage.compute.as_secs_f64());
        self.gpu_memory.set(usage.memory as i64);
        self.gpu_streams.set(streams as i64);
    }

    /// A model was loaded and takes `memory` bytes.
    pub fn loaded(&self, model: &ModelLabels, info: &model::ModelInfo, memory: usize) {
        self.model_info
            .get_or_create(&InfoLabels::new(model, info))
            .set(1);
        self.model_memory.get_or_create(model).set(memory as i64);
        for histogram in [
            &self.decode_seconds,
            &self.queue_seconds,
            &self.forward_seconds,
            &self.batch_images,
        ] {
            drop(histogram.get_or_create(model));
        }
        self.loads(&model.model, "loaded");
    }

    /// A load of model `name` failed.
    pub fn load_failed(&self, name: &str) {
        self.loads(name, "failed");
    }

    fn loads(&self, model: &str, result: &'static str) {
        let labels = LoadLabels {
            model: model.to_owned(),
            result,
        };
        self.model_loads.get_or_create(&labels).inc();
    }

    /// A model was replaced or unloaded.
    pub fn unloaded(&self, model: &ModelLabels, info: &model::ModelInfo) {
        self.model_info.remove(&InfoLabels::new(model, info));
        self.model_memory.remove(model);
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn render(&self) -> Result<String, fmt::Error> {
        if let Some(dropped) = self.log_source.get() {
            let counter = self.log_lines_dropped.inner();
            counter.store(dropped(), Ordering::Relaxed);
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
