//! What the server counts, in the OpenMetrics text format that Prometheus
//! scrapes. docs/metrics.md lists all of it; a test writes that file.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::cache_metrics::CacheMetrics;
use super::labels::ModelLabels;
use super::model_metrics::{Decoded, ModelMetrics};
use super::process_metrics::ProcessMetrics;
use super::request_metrics::{RequestMetrics, Responded};
use super::totals::Totals;

#[cfg(test)]
mod reference;

/// Counters, gauges and histograms; cheap to update from any thread.
pub struct Metrics {
    registry: Registry,
    process: ProcessMetrics,
    requests: RequestMetrics,
    models: ModelMetrics,
    gpu_upload_seconds: Counter<f64, AtomicU64>,
    gpu_compute_seconds: Counter<f64, AtomicU64>,
    gpu_memory: Gauge,
    gpu_streams: Gauge,
    build_info: Family<BuildLabels, Gauge>,
    budget_used: Family<BudgetLabels, Gauge>,
    budget_limit: Family<BudgetLabels, Gauge>,
    connections_closed: Family<ReasonLabels, Counter>,
    log_lines_dropped: Counter,
    log_source: OnceLock<fn() -> u64>,
    spans: Family<ResultLabels, Counter>,
    span_source: OnceLock<fn() -> SpanCounts>,
    /// What the cache has found.
    pub cache: CacheMetrics,
    /// The sums of each model.
    pub totals: Totals,
    /// Open connections.
    pub connections: Gauge,
    /// Decoded images that wait for the device.
    pub queue_depth: Gauge,
    /// Images that are admitted and have no result yet.
    pub images_in_flight: Gauge,
}

/// What became of the spans of sampled traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// The collector has them.
    pub exported: u64,
    /// The collector rejected them or could not be reached.
    pub failed: u64,
    /// There were more than the queue holds.
    pub dropped: u64,
}

/// A limit that requests or models share, and how much of it is in use.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// `bodies`, `probes`, `models` or `images`.
    pub name: &'static str,
    /// Bytes, or images.
    pub used: usize,
    /// The most that may be in use, if there is a limit.
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    target: String,
    cuda: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BudgetLabels {
    budget: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
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
            process: ProcessMetrics::new(),
            requests: RequestMetrics::new(),
            models: ModelMetrics::new(),
            gpu_upload_seconds: Counter::default(),
            gpu_compute_seconds: Counter::default(),
            gpu_memory: Gauge::default(),
            gpu_streams: Gauge::default(),
            build_info: Family::default(),
            budget_used: Family::default(),
            budget_limit: Family::default(),
            connections_closed: Family::default(),
            log_lines_dropped: Counter::default(),
            log_source: OnceLock::new(),
            spans: Family::default(),
            span_source: OnceLock::new(),
            cache: CacheMetrics::default(),
            totals: Totals::default(),
            connections: Gauge::default(),
            queue_depth: Gauge::default(),
            images_in_flight: Gauge::default(),
        };
        metrics.requests.register(&mut metrics.registry);
        metrics.models.register(&mut metrics.registry);
        metrics.register_queue();
        metrics.cache.register(&mut metrics.registry);
        metrics.register_server();
        metrics.register_gpus();
        metrics.build_info.get_or_create(&build()).set(1);
        metrics
    }

    fn register_queue(&mut self) {
        let registry = &mut self.registry;
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
        registry.register(
            "budget_used",
            "Part of a budget that is in use: bytes of bodies, of responses to probes and of \
             models, and images in flight",
            self.budget_used.clone(),
        );
        registry.register(
            "budget_limit",
            "The most of a budget that may be in use; absent without a limit",
            self.budget_limit.clone(),
        );
    }

    fn register_server(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "build_info",
            "The version of the server; always 1",
            self.build_info.clone(),
        );
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
        registry.register(
            "spans",
            "Spans of sampled traces by result (exported, failed, dropped); absent without a \
             collector",
            self.spans.clone(),
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
        self.requests.expect(protocol, route, status);
    }

    /// A request was answered.
    pub fn responded(&self, response: &Responded<'_>) {
        self.requests.responded(response);
    }

    /// A message of a stream was answered.
    pub fn message(&self, message: &Responded<'_>) {
        self.requests.message(message);
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

    /// Where the numbers of spans come from.
    pub fn count_spans(&self, source: fn() -> SpanCounts) {
        // The first source stays.
        let _ = self.span_source.set(source);
    }

    /// An image was decoded, or found to be invalid.
    pub fn decoded(&self, model: &ModelLabels, decoded: Decoded) {
        self.models.decoded(model, decoded);
    }

    /// An image has waited for a thread and for the device.
    pub fn waited(&self, model: &ModelLabels, waited: Duration) {
        self.models.waited(model, waited);
    }

    /// A batch of `images` has run.
    pub fn batch(&self, model: &ModelLabels, images: usize, took: Duration) {
        self.models.batch(model, images, took);
    }

    /// What GPUs were used for since the last call.
    pub fn gpus(&self, usage: &model::Usage, streams: usize) {
        self.gpu_upload_seconds.inc_by(usage.upload.as_secs_f64());
        self.gpu_compute_seconds.inc_by(usage.compute.as_secs_f64());
        self.gpu_memory.set(usage.memory as i64);
        self.gpu_streams.set(streams as i64);
    }

    /// How much of each budget is in use now.
    pub fn budgets(&self, budgets: &[Budget]) {
        for budget in budgets {
            let labels = BudgetLabels {
                budget: budget.name,
            };
            let used = self.budget_used.get_or_create(&labels);
            used.set(budget.used as i64);
            if let Some(limit) = budget.limit {
                self.budget_limit.get_or_create(&labels).set(limit as i64);
            }
        }
    }

    /// A model was loaded and takes `memory` bytes.
    pub fn loaded(&self, model: &ModelLabels, info: &model::ModelInfo, memory: usize) {
        self.models.loaded(model, info, memory);
    }

    /// A load of model `name` that succeeded took so long.
    pub fn load_took(&self, name: &str, took: Duration) {
        self.models.load_took(name, took);
    }

    /// A load of model `name` failed.
    pub fn load_failed(&self, name: &str) {
        self.models.load_failed(name);
    }

    /// A model was replaced or unloaded.
    pub fn unloaded(&self, model: &ModelLabels, info: &model::ModelInfo) {
        if let Some(old) = self.models.unloaded(model, info) {
            self.requests.forget(&old);
            self.totals.forget(&old.model, old.version);
        }
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
        if let Some(counts) = self.span_source.get() {
            self.set_spans(counts());
        }
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)?;
        text::encode_registry(&mut page, self.process.read())?;
        text::encode_eof(&mut page)?;
        Ok(page)
    }

    fn set_spans(&self, counts: SpanCounts) {
        for (result, count) in [
            ("exported", counts.exported),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
        ] {
            let counter = self.spans.get_or_create(&ResultLabels { result });
            counter.inner().store(count, Ordering::Relaxed);
        }
    }
}

fn build() -> BuildLabels {
    BuildLabels {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        cuda: match cfg!(feature = "cuda") {
            true => "true",
            false => "false",
        },
    }
}
