//! What the server counts of its cache.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::cache::lookup::Lookup;

/// Counters and gauges of the cache.
#[derive(Default)]
pub struct CacheMetrics {
    images: Family<Labels, Counter>,
    evicted: Counter,
    entries: Gauge,
    bytes: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

impl CacheMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        for lookup in [Lookup::Hit, Lookup::Coalesced, Lookup::Miss] {
            drop(self.counter(lookup));
        }
        registry.register(
            "cache_images",
            "Images that the cache was asked for, by result (hit, coalesced, miss)",
            self.images.clone(),
        );
        registry.register(
            "cache_evicted",
            "Outputs that left the cache because it was full",
            self.evicted.clone(),
        );
        registry.register(
            "cache_entries",
            "Outputs in the cache",
            self.entries.clone(),
        );
        registry.register(
            "cache_bytes",
            "Memory of the outputs in the cache",
            self.bytes.clone(),
        );
    }

    fn counter(&self, lookup: Lookup) -> Counter {
        let result = lookup.name();
        self.images.get_or_create(&Labels { result }).clone()
    }

    /// The cache was asked for an image.
    pub(super) fn asked(&self, lookup: Lookup) {
        self.counter(lookup).inc();
    }

    /// The cache holds `entries` outputs of `bytes` bytes, after some were evicted.
    pub(super) fn holds(&self, entries: usize, bytes: usize, evicted: usize) {
        self.entries.set(entries as i64);
        self.bytes.set(bytes as i64);
        self.evicted.inc_by(evicted as u64);
    }
}
