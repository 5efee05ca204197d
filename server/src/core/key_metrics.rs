//! What the server counts for each API key. Their number is that of the keys in the
//! file, so it is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters by the name of a key.
#[derive(Default)]
pub struct KeyMetrics {
    requests: Family<Labels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    key: String,
    status: u16,
}

impl KeyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "key_requests",
            "Responses to requests with an API key, by the name of the key and status",
            self.requests.clone(),
        );
    }

    /// A request with this key was answered with `status`.
    pub fn responded(&self, key: &str, status: u16) {
        let key = key.to_owned();
        self.requests.get_or_create(&Labels { key, status }).inc();
    }
}
