//! Sends the request that an example's `x-request` describes, to a server of
//! the default model in the state that it names.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use model::{ClassWeights, ModelInfo, NoClassMaps, Output, Outputs, ThreadPool, Usage};
use resnet_server::config::serve::{Config, ServeFlags};
use resnet_server::core::keys::{Key, KeyLimits, Scope};
use resnet_server::core::network::Network;
use resnet_server::core::registry::checkpoints::Checkpoints;
use resnet_server::core::registry::loader::{LoadError, Loader};
use resnet_server::core::round_robin::Class;
use resnet_server::core::serving::Serving;
use resnet_server::core::spec::ModelSpec;
use resnet_server::fetch::fetcher::{FetchRules, Fetcher};
use resnet_server::fetch::rules::{AllowList, PrivateHosts};
use resnet_server::http::routes;
use serde_json::json;
use sha2::{Digest, Sha256};
use weights::{Activation, Hierarchy, Hub, Labels, Preprocessing};

use super::bodies::described;
use super::examples::{Contract, Example, object};
use crate::support::client::{Response, send_admin_of, send_of, send_to};
use crate::support::gate::Gate;

/// The default configuration: the examples state its limits. In f32, as the
/// probabilities of other types differ between CPUs.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        serve: ServeFlags,
    }
    let flags = [
        "resnet",
        "--device",
        "cpu",
        "--dtype",
        "f32",
        "--threads",
        "2",
    ];
    Flags::parse_from(flags).serve.check().unwrap()
});

static POOL: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::new(CONFIG.threads).unwrap());

/// The default model, loaded once.
static MODEL: LazyLock<Arc<dyn Network>> = LazyLock::new(|| {
    let checkpoints = Checkpoints::new(Hub::from_env());
    checkpoints.load(&CONFIG.models[0], 1, &POOL).unwrap()
});

/// The default model, with errors that a test can switch on.
#[derive(Default)]
struct Controlled {
    fails: AtomicBool,
    device_lost: AtomicBool,
    /// Whether it has no class activation maps.
    opaque: AtomicBool,
    gate: Gate,
    load_gate: Gate,
}

impl Network for Controlled {
    fn info(&self) -> &ModelInfo {
        MODEL.info()
    }

    fn preprocessing(&self) -> &Preprocessing {
        MODEL.preprocessing()
    }

    fn labels(&self) -> &Labels {
        MODEL.labels()
    }

    fn activation(&self) -> Activation {
        MODEL.activation()
    }

    fn temperature(&self) -> Option<f64> {
        MODEL.temperature()
    }

    fn hierarchy(&self) -> Option<&Hierarchy> {
        MODEL.hierarchy()
    }

    fn forward(&self, images: &[&[u8]], outputs: Outputs) -> model::Result<Output> {
        self.gate.pass();
        match self.fails.load(Ordering::SeqCst) {
            true => Err(model::Error::Batch("on purpose".into())),
            false => MODEL.forward(images, outputs),
        }
    }

    fn forward_planes(&self, planes: &[f32], outputs: Outputs) -> model::Result<Output> {
        MODEL.forward_planes(planes, outputs)
    }

    fn has_class_maps(&self) -> model::Result<()> {
        match self.opaque.load(Ordering::SeqCst) {
            true => Err(NoClassMaps::NoClassifier.into()),
            false => MODEL.has_class_maps(),
        }
    }

    fn class_weights(&self, class: usize) -> model::Result<ClassWeights> {
        MODEL.class_weights(class)
    }

    fn memory(&self, batch: usize) -> usize {
        MODEL.memory(batch)
    }

    fn take_usage(&self) -> Option<Usage> {
        MODEL.take_usage()
    }

    fn device_error(&self) -> Option<String> {
        let lost = self.device_lost.load(Ordering::SeqCst);
        lost.then(|| "on purpose".into())
    }
}

struct ControlledLoader(Arc<Controlled>);

impl Loader for ControlledLoader {
    fn versions(&self, _: &ModelSpec) -> Result<Vec<u64>, LoadError> {
        Ok(vec![1])
    }

    fn load(&self, _: &ModelSpec, _: u64, _: &ThreadPool) -> Result<Arc<dyn Network>, LoadError> {
        self.0.load_gate.pass();
        Ok(Arc::clone(&self.0) as Arc<dyn Network>)
    }
}

/// A server that loads the default model, with a cache of this size.
fn starting(cache: Option<usize>) -> (Arc<Serving>, Arc<Controlled>) {
    let model = Arc::<Controlled>::default();
    let loader = Box::new(ControlledLoader(Arc::clone(&model)));
    let serving = Serving::new(CONFIG.limits.clone(), None, POOL.clone(), loader);
    (Arc::new(serving.with_cache(cache)), model)
}

fn apply(serving: &Serving) {
    let registry = serving.registry();
    registry.apply(CONFIG.models.clone(), &CONFIG.default_model);
}

/// A server whose model is ready.
pub(crate) async fn ready() -> (Arc<Serving>, ModelControl) {
    ready_with(None).await
}

async fn ready_with(cache: Option<usize>) -> (Arc<Serving>, ModelControl) {
    let (serving, model) = starting(cache);
    apply(&serving);
    serving.registry().wait_until_loaded().await;
    (serving, ModelControl(model))
}

/// Switches the errors of a model on.
pub(crate) struct ModelControl(Arc<Controlled>);

/// The request that `x-request` describes.
fn request(example: &Example) -> Request<Body> {
    let description = &example.example["x-request"];
    let mut request = described(&description["body"]);
    let query = description["query"].as_str();
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    *request.uri_mut() = format!("{}{query}", example.path).parse().unwrap();
    *request.method_mut() = example.method.to_uppercase().parse().unwrap();
    for (name, value) in object(&description["headers"]) {
        let name: axum::http::HeaderName = name.parse().unwrap();
        let value = value.as_str().unwrap().parse().unwrap();
        request.headers_mut().insert(name, value);
    }
    request
}

/// Sends a request to the public listener of a server with the protocols of a
/// contract.
pub(crate) async fn send_request(
    serving: &Arc<Serving>,
    contract: &Contract,
    request: Request<Body>,
) -> Response {
    send_of(serving, &contract.protocols(), request).await
}

/// Sends the request of an example to a server in the state that it names.
pub(crate) async fn ask(example: &Example) -> Response {
    let request = request(example);
    let description = &example.example["x-request"];
    let state = description["server"].as_str();
    if state == Some("starting") {
        return ask_while_starting(example, request).await;
    }
    if state == Some("caching") {
        return ask_twice(example, request).await;
    }
    let (serving, ModelControl(model)) = ready().await;
    match state {
        Some("guarded") => {
            let digest = Sha256::digest("key of prometheus").into();
            let (name, scopes) = ("prometheus".to_owned(), vec![Scope::Metrics]);
            let key = Key::new(name, digest, scopes, KeyLimits::default(), Class::Normal);
            serving.keys().replace(vec![key]);
        }
        Some("draining") => serving.drain().await,
        Some("failing") => model.fails.store(true, Ordering::SeqCst),
        Some("opaque") => model.opaque.store(true, Ordering::SeqCst),
        Some("lost") => model.device_lost.store(true, Ordering::SeqCst),
        Some("unloaded") => {
            let registry = serving.registry();
            registry.unload(&CONFIG.default_model, None).unwrap();
        }
        Some("full") => {
            let permits = serving.admission().images(CONFIG.limits.max_in_flight);
            let _permits = permits.unwrap();
            return send_request(&serving, example.contract, request).await;
        }
        Some("fetching") => {
            let (contract, fetcher) = (example.contract, fetcher());
            let router = routes::public(Arc::clone(&serving), &contract.protocols());
            return send_to(router.layer(Extension(fetcher)), request).await;
        }
        Some("stuck") => {
            model.gate.close();
            let response =
                with_virtual_time(send_request(&serving, example.contract, request)).await;
            model.gate.open();
            return response;
        }
        Some(state) => panic!("{}: unknown state of a server: {state}", example.name),
        None if description["body"]["stalls"] == json!(true) => {
            return with_virtual_time(send_request(&serving, example.contract, request)).await;
        }
        None => {}
    }
    match description["listener"].as_str() {
        Some("admin") => send_admin_of(&serving, &example.contract.protocols(), request).await,
        Some(listener) => panic!("{}: unknown listener: {listener}", example.name),
        None => send_request(&serving, example.contract, request).await,
    }
}

/// Asks again with the entity tag of the first response.
async fn ask_twice(example: &Example, mut again: Request<Body>) -> Response {
    let (serving, _) = ready_with(Some(1 << 20)).await;
    let first = send_request(&serving, example.contract, request(example)).await;
    let tag = first.headers["etag"].clone();
    again.headers_mut().insert("if-none-match", tag);
    send_request(&serving, example.contract, again).await
}

/// Fetches images of a host where nothing listens.
fn fetcher() -> Arc<Fetcher> {
    let rules = FetchRules {
        allowed: AllowList::parse("http://127.0.0.1:9").unwrap(),
        private: PrivateHosts::parse("127.0.0.1").unwrap(),
        timeout: CONFIG.limits.request_timeout,
    };
    Arc::new(Fetcher::new(rules, CONFIG.limits.max_body).unwrap())
}

async fn ask_while_starting(example: &Example, request: Request<Body>) -> Response {
    let (serving, model) = starting(None);
    model.load_gate.close();
    apply(&serving);
    let response = send_request(&serving, example.contract, request).await;
    model.load_gate.open();
    response
}

/// Advances tokio's clock whenever all tasks wait.
async fn with_virtual_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let output = future.await;
    tokio::time::resume();
    output
}
