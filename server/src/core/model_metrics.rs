//! What the server counts for each version of each model: its images, its batches, its
//! loads and its memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histograms::{Histograms, batch_images, load_seconds, seconds};
use super::labels::ModelLabels;

/// Versions that are not in memory any more and whose samples are kept.
const MOST_UNLOADED: usize = 100;

/// Counters, gauges and histograms of models.
pub(super) struct ModelMetrics {
    decode_seconds: Histograms<ModelLabels>,
    format_seconds: Histograms<FormatLabels>,
    decoded_images: Family<DecodedLabels, Counter>,
    queue_seconds: Histograms<ModelLabels>,
    forward_seconds: Histograms<ModelLabels>,
    batch_images: Histograms<ModelLabels>,
    info: Family<InfoLabels, Gauge>,
    loads: Family<LoadLabels, Counter>,
    load_seconds: Histograms<NameLabels>,
    memory: Family<ModelLabels, Gauge>,
    /// Versions that were unloaded, the oldest first.
    unloaded: Mutex<VecDeque<ModelLabels>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NameLabels {
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FormatLabels {
    format: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecodedLabels {
    format: &'static str,
    result: &'static str,
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

/// An image that was decoded, or found to be invalid.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    /// The name of its format.
    pub format: &'static str,
    /// Whether it can be given to the network.
    pub is_valid: bool,
    /// How long it took.
    pub took: Duration,
}

impl ModelMetrics {
    pub(super) fn new() -> Self {
        Self {
            decode_seconds: seconds(),
            format_seconds: seconds(),
            decoded_images: Family::default(),
            queue_seconds: seconds(),
            forward_seconds: seconds(),
            batch_images: batch_images(),
            info: Family::default(),
            loads: Family::default(),
            load_seconds: load_seconds(),
            memory: Family::default(),
            unloaded: Mutex::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
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
            "decoded_images",
            "Images by format and result (valid, invalid)",
            self.decoded_images.clone(),
        );
        registry.register(
            "format_decode_seconds",
            "Time to decode and preprocess an image, by format",
            self.format_seconds.clone(),
        );
        self.register_loads(registry);
    }

    fn register_loads(&self, registry: &mut Registry) {
        registry.register(
            "model_info",
            "The loaded models; always 1",
            self.info.clone(),
        );
        registry.register(
            "model_loads",
            "Loads of a model by result (loaded, failed)",
            self.loads.clone(),
        );
        registry.register(
            "model_load_seconds",
            "Time of a load that succeeded, with the self-check and the warm-up",
            self.load_seconds.clone(),
        );
        registry.register(
            "model_memory_bytes",
            "Memory of a loaded model: weights, and feature maps of its largest batch",
            self.memory.clone(),
        );
    }

    pub(super) fn decoded(&self, model: &ModelLabels, decoded: Decoded) {
        let seconds = decoded.took.as_secs_f64();
        self.decode_seconds.get_or_create(model).observe(seconds);
        let format = decoded.format;
        let of_format = self.format_seconds.get_or_create(&FormatLabels { format });
        of_format.observe(seconds);
        let result = match decoded.is_valid {
            true => "valid",
            false => "invalid",
        };
        let labels = DecodedLabels { format, result };
        self.decoded_images.get_or_create(&labels).inc();
    }

    pub(super) fn waited(&self, model: &ModelLabels, waited: Duration) {
        let seconds = self.queue_seconds.get_or_create(model);
        seconds.observe(waited.as_secs_f64());
    }

    pub(super) fn batch(&self, model: &ModelLabels, images: usize, took: Duration) {
        self.batch_images
            .get_or_create(model)
            .observe(images as f64);
        let seconds = self.forward_seconds.get_or_create(model);
        seconds.observe(took.as_secs_f64());
    }

    pub(super) fn loaded(&self, model: &ModelLabels, info: &model::ModelInfo, memory: usize) {
        self.info
            .get_or_create(&InfoLabels::new(model, info))
            .set(1);
        self.memory.get_or_create(model).set(memory as i64);
        for histogram in [
            &self.decode_seconds,
            &self.queue_seconds,
            &self.forward_seconds,
            &self.batch_images,
        ] {
            drop(histogram.get_or_create(model));
        }
        self.count_load(&model.model, "loaded");
        let mut unloaded = self.unloaded.lock().unwrap_or_else(PoisonError::into_inner);
        unloaded.retain(|other| other != model);
    }

    pub(super) fn load_took(&self, name: &str, took: Duration) {
        let model = name.to_owned();
        let seconds = self.load_seconds.get_or_create(&NameLabels { model });
        seconds.observe(took.as_secs_f64());
    }

    pub(super) fn load_failed(&self, name: &str) {
        self.count_load(name, "failed");
    }

    fn count_load(&self, model: &str, result: &'static str) {
        let labels = LoadLabels {
            model: model.to_owned(),
            result,
        };
        self.loads.get_or_create(&labels).inc();
    }

    /// A version was unloaded. Returns one that was unloaded so long ago that its
    /// samples are removed, so that versions that come and go do not add up.
    pub(super) fn unloaded(
        &self,
        model: &ModelLabels,
        info: &model::ModelInfo,
    ) -> Option<ModelLabels> {
        self.info.remove(&InfoLabels::new(model, info));
        self.memory.remove(model);
        let mut unloaded = self.unloaded.lock().unwrap_or_else(PoisonError::into_inner);
        unloaded.retain(|other| other != model);
        unloaded.push_back(model.clone());
        let oldest = match unloaded.len() > MOST_UNLOADED {
            true => unloaded.pop_front(),
            false => None,
        }?;
        for histogram in [
            &self.decode_seconds,
            &self.queue_seconds,
            &self.forward_seconds,
            &self.batch_images,
        ] {
            histogram.remove(&oldest);
        }
        Some(oldest)
    }
}
