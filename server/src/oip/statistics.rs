//! The statistics of models in the form of Triton's `ModelStatistics`.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::core::error::Error;
use crate::core::instance::Instance;
use crate::core::registry::registry::Registry;
use crate::core::registry::status::ModelStatus;
use crate::core::statistics::{Counts, Total};

/// A version of a model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelStatistics {
    /// The model.
    pub name: String,
    /// The version.
    pub version: String,
    /// When the last request ended, in milliseconds since 1970; 0 before the first.
    pub last_inference: u64,
    /// Images of requests that succeeded.
    pub inference_count: u64,
    /// Forward passes.
    pub execution_count: u64,
    /// Where the time of requests went.
    pub inference_stats: InferenceStatistics,
    /// None: the size of a batch is in `/metrics`.
    pub batch_stats: [(); 0],
}

/// Where the time of requests went. The steps count requests that succeeded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InferenceStatistics {
    /// Requests that succeeded.
    pub success: StatisticDuration,
    /// Requests that failed.
    pub fail: StatisticDuration,
    /// Waiting.
    pub queue: StatisticDuration,
    /// Decoding and preprocessing.
    pub compute_input: StatisticDuration,
    /// Forward passes.
    pub compute_infer: StatisticDuration,
    /// The rest.
    pub compute_output: StatisticDuration,
    /// 0: there is no cache.
    pub cache_hit: StatisticDuration,
    /// 0.
    pub cache_miss: StatisticDuration,
}

/// A number of requests, and their time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StatisticDuration {
    /// How many.
    pub count: u64,
    /// All together.
    pub ns: u64,
}

impl StatisticDuration {
    fn new(count: u64, time: Duration) -> Self {
        Self {
            count,
            ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl From<Total> for StatisticDuration {
    fn from(Total { count, time }: Total) -> Self {
        Self::new(count, time)
    }
}

impl ModelStatistics {
    /// The statistics of an instance of the model that a request names so.
    #[must_use]
    pub fn new(name: &str, instance: &Instance) -> Self {
        let counts = instance.statistics().counts();
        let since = |at: std::time::SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            name: name.to_owned(),
            version: instance.version().to_string(),
            last_inference: counts
                .last_request
                .map_or(0, |at| since(at).as_millis() as u64),
            inference_count: counts.images,
            execution_count: counts.batches,
            inference_stats: InferenceStatistics::from(&counts),
            batch_stats: [],
        }
    }
}

impl From<&Counts> for InferenceStatistics {
    fn from(counts: &Counts) -> Self {
        let step = |time| StatisticDuration::new(counts.succeeded.count, time);
        let steps = counts.queue + counts.decode + counts.forward;
        Self {
            success: counts.succeeded.into(),
            fail: counts.failed.into(),
            queue: step(counts.queue),
            compute_input: step(counts.decode),
            compute_infer: step(counts.forward),
            compute_output: step(counts.succeeded.time.saturating_sub(steps)),
            cache_hit: StatisticDuration::default(),
            cache_miss: StatisticDuration::default(),
        }
    }
}

/// The statistics of one version, or of all loaded versions of a model.
///
/// # Errors
/// A model or a version that does not exist.
pub fn of_model(
    registry: &Registry,
    name: &str,
    version: Option<u64>,
) -> Result<Vec<ModelStatistics>, Error> {
    let mut status = registry.status(name)?;
    if let Some(version) = version {
        status.version(version)?;
        status.versions.retain(|found| found.version == version);
    }
    Ok(statistics(&[status]))
}

/// The statistics of all loaded versions of these models.
#[must_use]
pub fn statistics(models: &[ModelStatus]) -> Vec<ModelStatistics> {
    let instances = models.iter().flat_map(|model| {
        let versions = model.versions.iter();
        versions.filter_map(move |version| Some((model, version.instance.as_ref()?)))
    });
    let instances = instances.map(|(model, instance)| ModelStatistics::new(&model.name, instance));
    instances.collect()
}
