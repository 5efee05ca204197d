//! The kinds of histograms, and their buckets.

use std::hash::Hash;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds in seconds, from half a millisecond to half a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0,
];

/// Upper bounds of the time that a model takes to load.
const LOAD_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds of the number of images in a batch.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A histogram for each combination of labels.
pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// A histogram whose buckets name a trace, for each combination of labels.
pub(super) type TracedHistograms<L> = Family<L, Traced, fn() -> Traced>;

type Traced = HistogramWithExemplars<TraceLabels>;

/// The labels of an exemplar.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct TraceLabels {
    trace_id: String,
}

pub(super) fn seconds<L: Clone + Eq + Hash>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

pub(super) fn traced_seconds<L: Clone + Eq + Hash>() -> TracedHistograms<L> {
    Family::new_with_constructor(|| Traced::new(SECONDS.into_iter()))
}

pub(super) fn load_seconds<L: Clone + Eq + Hash>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(LOAD_SECONDS))
}

pub(super) fn batch_images<L: Clone + Eq + Hash>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(BATCH))
}

/// Adds a time to a histogram. `trace_id` is that of a sampled trace, or empty.
pub(super) fn observe<L: Clone + Eq + Hash>(
    histograms: &TracedHistograms<L>,
    labels: &L,
    took: Duration,
    trace_id: &str,
) {
    let exemplar = (!trace_id.is_empty()).then(|| TraceLabels {
        trace_id: trace_id.to_owned(),
    });
    let now = exemplar.is_some().then(SystemTime::now);
    let histogram = histograms.get_or_create(labels);
    histogram.observe(took.as_secs_f64(), exemplar, now);
}
