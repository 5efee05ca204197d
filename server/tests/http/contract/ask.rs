//! Asks as an example's `x-request` says, of a server in the state it says,
//! with the default model behind it.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use model::{Card, Model};
use serde_json::{Value, json};
use server::classifier::Classifier;
use server::config::{Config, ServeFlags};
use server::network::Network;
use server::service::Service;
use weights::{Labels, Recipe};

use super::examples::{Example, object};
use crate::support::{Answer, Gate, multipart, send, stalling};

/// The default configuration: the examples state its limits.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        serve: ServeFlags,
    }
    let flags = ["resnet", "--device", "cpu", "--threads", "2"];
    Flags::parse_from(flags).serve.check().unwrap()
});

/// The default model, which can be made to fail or to get stuck.
struct Moody {
    model: Model,
    cores: model::Cores,
    mood: AtomicU8,
    gate: Gate,
}

const WELL: u8 = 0;
const FAILING: u8 = 1;
const LOST: u8 = 2;

static MOODY: LazyLock<Arc<Moody>> = LazyLock::new(|| {
    let (model, cores) = CONFIG.model.load().unwrap();
    Arc::new(Moody {
        model,
        cores,
        mood: AtomicU8::new(WELL),
        gate: Gate::default(),
    })
});

impl Network for Moody {
    fn card(&self) -> &Card {
        self.model.card()
    }

    fn recipe(&self) -> &Recipe {
        self.model.recipe()
    }

    fn labels(&self) -> &Labels {
        self.model.labels()
    }

    fn forward(&self, images: &[&[u8]]) -> model::Result<Vec<f32>> {
        self.gate.pass();
        match self.mood.load(Ordering::SeqCst) {
            FAILING => Err(model::Error::Batch("on purpose".into())),
            _ => self.model.forward(images),
        }
    }

    fn fault(&self) -> Option<String> {
        (self.mood.load(Ordering::SeqCst) == LOST).then(|| "on purpose".into())
    }
}

pub(crate) fn ready() -> Arc<Service> {
    let service = Arc::new(Service::new(CONFIG.limits.clone()));
    let network = Arc::clone(&MOODY);
    let (cores, metrics) = (network.cores.clone(), Arc::clone(service.metrics()));
    service.open(Classifier::start(network, cores, &CONFIG.limits, metrics).unwrap());
    service
}

pub(crate) fn file(path: &Value) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read(root.join(path.as_str().unwrap())).unwrap()
}

pub(crate) fn files(paths: &Value) -> Vec<Vec<u8>> {
    paths.as_array().unwrap().iter().map(file).collect()
}

/// The request that `x-request` describes.
fn request(example: &Example<'_>) -> Request<Body> {
    let asked = &example.example["x-request"];
    let body = &asked["body"];
    let mut request = if let Some(paths) = body.get("files") {
        let times = body["times"].as_u64().unwrap_or(1) as usize;
        multipart(&vec![files(paths); times].concat())
    } else {
        Request::new(raw_body(body))
    };
    let query = asked["query"]
        .as_str()
        .map_or(String::new(), |query| format!("?{query}"));
    *request.uri_mut() = format!("{}{query}", example.path).parse().unwrap();
    *request.method_mut() = example.method.to_uppercase().parse().unwrap();
    for (name, value) in object(&asked["headers"]) {
        let name: axum::http::HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .insert(name, value.as_str().unwrap().parse().unwrap());
    }
    request
}

fn raw_body(body: &Value) -> Body {
    use ::base64::Engine;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    if body.get("file").is_some() {
        file(&body["file"]).into()
    } else if let Some(text) = text("text") {
        text.into()
    } else if let Some(text) = text("base64") {
        ::base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
            .into()
    } else if let Some(zeros) = body["zeros"].as_u64() {
        vec![0; zeros as usize].into()
    } else if body["stalls"] == json!(true) {
        stalling(b"half a pho".to_vec())
    } else {
        Body::empty()
    }
}

/// Asks as the example says, of a server in the state it says.
pub(crate) async fn ask(example: &Example<'_>) -> Answer {
    let request = request(example);
    let asked = &example.example["x-request"];
    let moody = Arc::clone(&MOODY);
    match asked["server"].as_str() {
        Some("starting") => send(&Arc::new(Service::new(CONFIG.limits.clone())), request).await,
        Some("draining") => {
            let service = ready();
            service.drain().await;
            send(&service, request).await
        }
        Some("full") => {
            let service = ready();
            let _places = service.admission().images(CONFIG.limits.queue).unwrap();
            send(&service, request).await
        }
        Some("failing") => {
            let service = ready();
            moody.mood.store(FAILING, Ordering::SeqCst);
            let answer = send(&service, request).await;
            moody.mood.store(WELL, Ordering::SeqCst);
            answer
        }
        Some("lost") => {
            let service = ready();
            moody.mood.store(LOST, Ordering::SeqCst);
            let answer = send(&service, request).await;
            moody.mood.store(WELL, Ordering::SeqCst);
            answer
        }
        Some("stuck") => {
            let service = ready();
            moody.gate.close();
            let answer = without_waiting(send(&service, request)).await;
            moody.gate.open();
            answer
        }
        Some(state) => panic!("{}: what is a server that is {state}?", example.name),
        None if asked["body"]["stalls"] == json!(true) => {
            let service = ready();
            without_waiting(send(&service, request)).await
        }
        None => send(&ready(), request).await,
    }
}

/// Lets the clock run as fast as nothing happens.
async fn without_waiting<T>(future: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let answer = future.await;
    tokio::time::resume();
    answer
}
