//! What the server counts for each response: by route, by model and by API key. The
//! labels are bounded: routes are those of the router, models those that were loaded,
//! and keys those of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::histograms::{TracedHistograms, observe, traced_seconds};
use super::labels::ModelLabels;

/// A request that was answered, or whose client has disconnected.
#[derive(Clone, Debug, Default)]
pub struct Responded<'a> {
    /// The protocol of its route.
    pub protocol: &'static str,
    /// The pattern of its route.
    pub route: &'a str,
    /// The status of HTTP, also where the protocol has others.
    pub status: u16,
    /// From its headers to its response.
    pub took: Duration,
    /// The model that it asked for, if there is such a model; else empty.
    pub model: &'a str,
    /// The version of that model.
    pub version: u64,
    /// Its images.
    pub images: usize,
    /// The name of its API key, or empty.
    pub key: &'a str,
    /// Whether it was rejected because of a limit of that key.
    pub is_of_key: bool,
    /// The trace that it belongs to, if that trace is sampled; else empty.
    pub trace_id: &'a str,
}

/// Counters and histograms of responses.
pub(super) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    request_seconds: TracedHistograms<RouteLabels>,
    model_requests: Family<ModelRequestLabels, Counter>,
    model_request_seconds: TracedHistograms<ModelRouteLabels>,
    key_requests: Family<KeyStatusLabels, Counter>,
    key_request_seconds: TracedHistograms<KeyLabels>,
    key_images: Family<KeyLabels, Counter>,
    key_limited: Family<KeyLabels, Counter>,
    /// The protocols and statuses that each model has samples of.
    seen: Mutex<BTreeMap<ModelLabels, BTreeSet<(&'static str, u16)>>>,
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
struct ModelRequestLabels {
    model: String,
    version: u64,
    status: u16,
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelRouteLabels {
    model: String,
    version: u64,
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyStatusLabels {
    key: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabels {
    key: String,
}

impl RequestMetrics {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: traced_seconds(),
            model_requests: Family::default(),
            model_request_seconds: traced_seconds(),
            key_requests: Family::default(),
            key_request_seconds: traced_seconds(),
            key_images: Family::default(),
            key_limited: Family::default(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
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
        registry.register(
            "model_requests",
            "Responses to requests for a model and to messages of streams, by its version, status and protocol",
            self.model_requests.clone(),
        );
        registry.register(
            "model_request_seconds",
            "Time from the headers of a request for a model to its response",
            self.model_request_seconds.clone(),
        );
        registry.register(
            "key_requests",
            "Responses to requests with an API key and to messages of streams, by the name of the key and status",
            self.key_requests.clone(),
        );
        registry.register(
            "key_request_seconds",
            "Time from the headers of a request with an API key to its response",
            self.key_request_seconds.clone(),
        );
        registry.register(
            "key_images",
            "Images of requests with an API key",
            self.key_images.clone(),
        );
        registry.register(
            "key_limited",
            "Requests rejected with 429 because of a limit of their API key, not of the server",
            self.key_limited.clone(),
        );
    }

    /// Creates the metrics of `route` and `status` at zero.
    pub(super) fn expect(&self, protocol: &'static str, route: &str, status: u16) {
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

    pub(super) fn responded(&self, response: &Responded<'_>) {
        let (protocol, status) = (response.protocol, response.status);
        let route = response.route.to_owned();
        let labels = RequestLabels {
            route: route.clone(),
            status,
            protocol,
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route, protocol };
        let (took, trace_id) = (response.took, response.trace_id);
        observe(&self.request_seconds, &labels, took, trace_id);
        if response.is_of_key {
            let key = response.key.to_owned();
            self.key_limited.get_or_create(&KeyLabels { key }).inc();
        }
        self.message(response);
    }

    /// Counts what belongs to a model or a key: a whole request, or a message of a stream.
    pub(super) fn message(&self, response: &Responded<'_>) {
        if !response.model.is_empty() {
            self.of_model(response);
        }
        if !response.key.is_empty() {
            self.of_key(response);
        }
    }

    fn of_model(&self, response: &Responded<'_>) {
        let (protocol, status) = (response.protocol, response.status);
        let model = response.model.to_owned();
        let version = response.version;
        let labels = ModelRequestLabels {
            model: model.clone(),
            version,
            status,
            protocol,
        };
        self.model_requests.get_or_create(&labels).inc();
        let labels = ModelRouteLabels {
            model: model.clone(),
            version,
            protocol,
        };
        let (took, trace_id) = (response.took, response.trace_id);
        observe(&self.model_request_seconds, &labels, took, trace_id);
        let labels = ModelLabels { model, version };
        self.seen()
            .entry(labels)
            .or_default()
            .insert((protocol, status));
    }

    fn of_key(&self, response: &Responded<'_>) {
        let key = response.key.to_owned();
        let status = response.status;
        let labels = KeyStatusLabels {
            key: key.clone(),
            status,
        };
        self.key_requests.get_or_create(&labels).inc();
        let labels = KeyLabels { key };
        let (took, trace_id) = (response.took, response.trace_id);
        observe(&self.key_request_seconds, &labels, took, trace_id);
        let images = response.images as u64;
        self.key_images.get_or_create(&labels).inc_by(images);
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<ModelLabels, BTreeSet<(&'static str, u16)>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the samples of a model.
    pub(super) fn forget(&self, of: &ModelLabels) {
        for (protocol, status) in self.seen().remove(of).unwrap_or_default() {
            self.model_requests.remove(&ModelRequestLabels {
                model: of.model.clone(),
                version: of.version,
                status,
                protocol,
            });
            self.model_request_seconds.remove(&ModelRouteLabels {
                model: of.model.clone(),
                version: of.version,
                protocol,
            });
        }
    }
}
