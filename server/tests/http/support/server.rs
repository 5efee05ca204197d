//! A server with fake models behind it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use model::ThreadPool;
use resnet_server::core::limits::Limits;
use resnet_server::core::serving::Serving;
use resnet_server::core::spec::ModelSpec;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::client::{Response, get, grey, post, send, send_admin};
use super::gate::TEST_TIMEOUT;
use super::loader::{FakeFiles, FakeLoader, spec};
use super::network::FakeNetwork;

/// The model of the servers that have only one.
pub(crate) const MODEL: &str = "fake";

pub(crate) fn limits() -> Limits {
    Limits {
        max_in_flight: 64,
        max_batch: 16,
        max_images: 8,
        max_body: 1 << 20,
        body_memory: 4 << 20,
        decode: preprocess::Limits {
            max_pixels: 100_000,
        },
        request_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        stream_timeout: Duration::from_secs(20),
    }
}

/// A server, and the files that it loads models from.
pub(crate) struct Server {
    pub(crate) serving: Arc<Serving>,
    pub(crate) files: Arc<FakeFiles>,
}

/// A server whose only model is ready.
pub(crate) async fn server() -> Server {
    server_with(limits(), |_| Ok(())).await
}

/// A server whose model runs `behavior` in each forward pass.
pub(crate) async fn server_with(
    limits: Limits,
    behavior: impl Fn(&[u8]) -> model::Result<()> + Send + Sync + 'static,
) -> Server {
    server_of(FakeNetwork::with_behavior(behavior), 2, limits).await
}

/// A server of this network, with this number of threads in its pool.
pub(crate) async fn server_of(network: FakeNetwork, threads: usize, limits: Limits) -> Server {
    let server = Server::new(limits, None, threads);
    server.files.write_shared(MODEL, 1, Arc::new(network));
    server.start(vec![spec(MODEL)]).await;
    server
}

/// A server whose only model is ready, with a cache of this size.
pub(crate) async fn caching(bytes: usize) -> Server {
    let server = Server::with(limits(), None, 2, Some(bytes));
    let network = FakeNetwork::with_behavior(|_| Ok(()));
    server.files.write_shared(MODEL, 1, Arc::new(network));
    server.start(vec![spec(MODEL)]).await;
    server
}

impl Server {
    /// A server without models. `memory_limit` is in bytes.
    pub(crate) fn new(limits: Limits, memory_limit: Option<usize>, threads: usize) -> Self {
        Self::with(limits, memory_limit, threads, None)
    }

    fn with(
        limits: Limits,
        memory_limit: Option<usize>,
        threads: usize,
        cache: Option<usize>,
    ) -> Self {
        let files = Arc::<FakeFiles>::default();
        let loader = Box::new(FakeLoader(Arc::clone(&files)));
        let pool = ThreadPool::new(threads).unwrap();
        let serving = Serving::new(limits, memory_limit, pool, loader);
        Self {
            serving: Arc::new(serving.with_cache(cache)),
            files,
        }
    }

    /// Serves these models, the first of which is the default, and waits until
    /// those that are loaded at start are ready or have failed.
    pub(crate) async fn start(&self, specs: Vec<ModelSpec>) {
        self.apply(specs);
        self.serving.registry().wait_until_loaded().await;
    }

    /// Serves these models, the first of which is the default.
    pub(crate) fn apply(&self, specs: Vec<ModelSpec>) {
        let default = specs
            .first()
            .map_or(String::new(), |spec| spec.name.clone());
        self.serving.registry().apply(specs, &default);
    }

    /// The network of a server that has only one.
    pub(crate) fn network(&self) -> Arc<FakeNetwork> {
        self.files.network(MODEL, 1)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        send(&self.serving, request).await
    }

    /// Sends the bytes of one image to the default model.
    pub(crate) async fn post(&self, body: impl Into<Body>) -> Response {
        self.send(post("/classify", body)).await
    }

    /// Sends the bytes of one image to this model.
    pub(crate) async fn classify(&self, model: &str, image: Vec<u8>) -> Response {
        self.send(post(&format!("/models/{model}/classify"), image))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(get(path)).await
    }

    /// Sends a `POST` request to the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        send_admin(&self.serving, post(path, "")).await
    }

    /// Checks the files of all models once.
    pub(crate) fn scan(&self) {
        self.serving.registry().scan();
    }

    /// What `GET /models/{name}/versions/{version}` returns.
    pub(crate) async fn version(&self, model: &str, version: u64) -> Value {
        let path = format!("/models/{model}/versions/{version}");
        self.get(&path).await.json
    }

    /// Waits until a version is in this state.
    pub(crate) async fn wait_for_state(&self, model: &str, version: u64, state: &str) {
        let what = format!("{model}/{version} to be {state}");
        wait_until(&what, async || {
            self.version(model, version).await["state"] == state
        })
        .await;
    }

    /// Waits until this number of networks of a model is in memory.
    pub(crate) async fn wait_for_memory(&self, model: &str, networks: usize) {
        let what = format!("{networks} networks of {model} in memory");
        wait_until(&what, async || self.files.in_memory(model) == networks).await;
    }

    /// Waits until this number of loads of a model has begun.
    pub(crate) async fn wait_for_loads(&self, model: &str, loads: usize) {
        let what = format!("{loads} loads of {model}");
        wait_until(&what, async || self.files.loads(model).len() == loads).await;
    }

    /// The value of a metric, with its labels as `/metrics` prints them; 0 if
    /// it does not exist.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.text;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(value).unwrap_or(0.0)
    }

    /// The value of a metric of the only model.
    pub(crate) async fn model_metric(&self, name: &str) -> f64 {
        self.metric(&format!(r#"{name}{{model="{MODEL}",version="1"}}"#))
            .await
    }

    /// Waits until a metric has this value.
    pub(crate) async fn wait_for_metric(&self, metric: &str, value: f64) {
        let what = format!("{metric} to become {value}");
        wait_until(&what, async || self.metric(metric).await == value).await;
    }

    /// Holds an image in the forward pass of the only model, so that later ones
    /// have to wait.
    pub(crate) async fn occupy_device(&self) -> JoinHandle<Response> {
        let network = self.network();
        network.gate.close();
        let task = self.spawn_post(grey(1));
        wait_until("a forward pass", async || network.batch_count() > 0).await;
        task
    }

    /// Does [`Server::occupy_device`], then queues images of these values.
    pub(crate) async fn fill_queue(
        &self,
        values: RangeInclusive<u8>,
    ) -> (JoinHandle<Response>, Vec<JoinHandle<Response>>) {
        let first = self.occupy_device().await;
        let rest: Vec<_> = values.map(|value| self.spawn_post(grey(value))).collect();
        self.wait_for_metric("resnet_queue_depth", rest.len() as f64)
            .await;
        (first, rest)
    }

    /// Sends an image to the default model from another task.
    pub(crate) fn spawn_post(&self, body: Vec<u8>) -> JoinHandle<Response> {
        self.spawn(post("/classify", body))
    }

    /// Sends an image to this model from another task.
    pub(crate) fn spawn_classify(&self, model: &str, image: Vec<u8>) -> JoinHandle<Response> {
        self.spawn(post(&format!("/models/{model}/classify"), image))
    }

    /// Sends a request from another task.
    pub(crate) fn spawn(&self, request: Request<Body>) -> JoinHandle<Response> {
        let serving = Arc::clone(&self.serving);
        tokio::spawn(async move { send(&serving, request).await })
    }

    /// The classes of each batch that the only model ran.
    pub(crate) fn batches(&self) -> Vec<Vec<u8>> {
        self.network().batches.lock().unwrap().clone()
    }
}

/// Waits until `condition` holds.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < TEST_TIMEOUT,
            "timed out: waited for {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
