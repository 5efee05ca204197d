//! A service with a fake network behind it, and ways to talk to it.
//!
//! The fake network has 256 classes; an image's class is the mean of its
//! pixels. So a flat grey photo of value 77 must come back as class 77,
//! whatever its neighbours in the batch are.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use model::{Card, Cores, Usage};
use serde_json::Value;
use server::classifier::Classifier;
use server::config::Limits;
use server::network::Network;
use server::service::Service;
use server::{http, photo};
use tower::ServiceExt;
use weights::{Labels, Recipe, Resize};

pub(crate) const CLASSES: usize = 256;
const SIDE: u32 = 8;

/// What a fake network does with the classes of a batch before it answers.
type Behaviour = Box<dyn Fn(&[u8]) -> model::Result<()> + Send + Sync>;

pub(crate) struct Fake {
    card: Card,
    recipe: Recipe,
    labels: Labels,
    behaviour: Behaviour,
    /// The classes of every batch that ran, the warm-up's apart.
    pub(crate) batches: Mutex<Vec<Vec<u8>>>,
    /// Closed, the next batch waits here.
    pub(crate) gate: Gate,
    /// Makes the preparation of photos panic.
    pub(crate) panic_on_recipe: AtomicBool,
    pub(crate) lanes: AtomicUsize,
    /// Why the device is lost.
    pub(crate) fault: Mutex<Option<String>>,
}

impl Fake {
    pub(crate) fn new(
        behaviour: impl Fn(&[u8]) -> model::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            card: Card {
                name: "fake".into(),
                architecture: "mean".into(),
                parameters: 0,
                multiply_adds: u64::from(SIDE * SIDE * 3),
                input_size: SIDE as usize,
                classes: CLASSES,
                device: "cpu".into(),
                dtype: "f32".into(),
                isa: "portable".into(),
                digest: "none".into(),
            },
            recipe: Recipe {
                resize: Resize::ShortSide(SIDE),
                crop: SIDE,
                ..Recipe::imagenet()
            },
            labels: Labels::from_names((0..CLASSES).map(|class| format!("grey {class}"))),
            behaviour: Box::new(behaviour),
            batches: Mutex::default(),
            gate: Gate::default(),
            panic_on_recipe: false.into(),
            lanes: 1.into(),
            fault: Mutex::default(),
        }
    }

    /// A network on a card that runs so many batches at a time, and fails where
    /// there is an image of class 14.
    pub(crate) fn on_card(lanes: usize) -> Self {
        let mut fake = Self::new(|classes| match classes.contains(&14) {
            true => Err(model::Error::Batch("on purpose".into())),
            false => Ok(()),
        });
        fake.card.device = "cuda:0".into();
        fake.lanes = lanes.into();
        fake
    }
}

impl Network for Fake {
    fn card(&self) -> &Card {
        &self.card
    }

    fn recipe(&self) -> &Recipe {
        assert!(!self.panic_on_recipe.load(Ordering::SeqCst));
        &self.recipe
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn lanes(&self) -> usize {
        self.lanes.load(Ordering::SeqCst)
    }

    fn take_usage(&self) -> Option<Usage> {
        (self.card.device != "cpu").then_some(Usage {
            upload: Duration::from_secs(1),
            compute: Duration::from_secs(2),
            memory: 3,
        })
    }

    fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap().clone()
    }

    fn forward(&self, images: &[&[u8]]) -> model::Result<Vec<f32>> {
        let mean = |image: &&[u8]| {
            let sum: usize = image.iter().map(|&value| usize::from(value)).sum();
            (sum / image.len()) as u8
        };
        let classes: Vec<u8> = images.iter().map(mean).collect();
        self.batches.lock().unwrap().push(classes.clone());
        self.gate.pass();
        (self.behaviour)(&classes)?;
        let mut logits = vec![0.0; images.len() * CLASSES];
        for (row, &class) in logits.chunks_exact_mut(CLASSES).zip(&classes) {
            row[usize::from(class)] = 20.0;
        }
        Ok(logits)
    }
}

/// A door that a test closes before a batch and opens after it.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub(crate) fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        queue: 64,
        max_batch: 16,
        max_images: 8,
        max_body: 1 << 20,
        body_memory: 4 << 20,
        photo: photo::Limits {
            max_pixels: 100_000,
        },
        request_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
    }
}

/// A ready service and the network behind it.
pub(crate) struct Server {
    pub(crate) service: Arc<Service>,
    pub(crate) fake: Arc<Fake>,
}

pub(crate) fn server() -> Server {
    server_with(limits(), |_| Ok(()))
}

pub(crate) fn server_with(
    limits: Limits,
    behaviour: impl Fn(&[u8]) -> model::Result<()> + Send + Sync + 'static,
) -> Server {
    server_on(2, limits, behaviour)
}

pub(crate) fn server_on(
    cores: usize,
    limits: Limits,
    behaviour: impl Fn(&[u8]) -> model::Result<()> + Send + Sync + 'static,
) -> Server {
    server_of(Fake::new(behaviour), cores, limits)
}

pub(crate) fn server_of(fake: Fake, cores: usize, limits: Limits) -> Server {
    let fake = Arc::new(fake);
    let service = Arc::new(Service::new(limits.clone()));
    let network: Arc<dyn Network> = Arc::clone(&fake) as _;
    let cores = Cores::new(cores).unwrap();
    let metrics = Arc::clone(service.metrics());
    service.open(Classifier::start(network, cores, &limits, metrics).unwrap());
    fake.batches.lock().unwrap().clear();
    Server { service, fake }
}

impl Server {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.service, request).await
    }

    /// Posts a raw body.
    pub(crate) async fn post(&self, body: impl Into<Body>) -> Answer {
        self.send(post("/classify", body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// The value of a metric, with its labels as `/metrics` writes them.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.text;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(value).unwrap_or(0.0)
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, metric: &str, value: f64) {
        while self.metric(metric).await != value {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets a lone image into the network and holds it there, so that what
    /// comes after it has to wait.
    pub(crate) async fn occupy_device(&self) -> tokio::task::JoinHandle<Answer> {
        self.fake.gate.close();
        let task = self.spawn_post(grey(1));
        while self.fake.batches.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        task
    }

    /// As [`Server::occupy_device`], and lets images of these values wait behind
    /// the one that is held.
    pub(crate) async fn fill_queue(
        &self,
        values: std::ops::RangeInclusive<u8>,
    ) -> (
        tokio::task::JoinHandle<Answer>,
        Vec<tokio::task::JoinHandle<Answer>>,
    ) {
        let first = self.occupy_device().await;
        let rest: Vec<_> = values.map(|value| self.spawn_post(grey(value))).collect();
        self.until("resnet_queue_depth", rest.len() as f64).await;
        (first, rest)
    }

    /// Posts from a task of its own.
    pub(crate) fn spawn_post(&self, body: Vec<u8>) -> tokio::task::JoinHandle<Answer> {
        let service = Arc::clone(&self.service);
        tokio::spawn(async move { send(&service, post("/classify", body)).await })
    }

    /// The classes of every batch that ran.
    pub(crate) fn batches(&self) -> Vec<Vec<u8>> {
        self.fake.batches.lock().unwrap().clone()
    }
}

pub(crate) async fn send(service: &Arc<Service>, request: Request<Body>) -> Answer {
    let response = http::router(Arc::clone(service))
        .oneshot(request)
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The best class of a single image's answer.
    #[track_caller]
    pub(crate) fn class(&self) -> u64 {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        class(&self.json)
    }

    /// Checks that this is a problem with this status and type, whole and
    /// well-formed.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["type"], format!("/docs#{name}"), "{}", self.text);
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["request_id"], self.header("x-request-id"));
        assert!(!self.json["title"].as_str().unwrap().is_empty());
        assert!(!self.json["detail"].as_str().unwrap().is_empty());
    }
}

/// The best class of an item.
#[track_caller]
pub(crate) fn class(item: &Value) -> u64 {
    item["predictions"][0]["index"]
        .as_u64()
        .unwrap_or_else(|| panic!("no prediction in {item}"))
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

pub(crate) fn post_as(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/classify")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

/// A flat grey PNG, as large as the network's input.
pub(crate) fn grey(value: u8) -> Vec<u8> {
    flat(value, SIDE, SIDE)
}

/// A flat grey PNG.
pub(crate) fn flat(value: u8, width: u32, height: u32) -> Vec<u8> {
    let photo = image::RgbImage::from_pixel(width, height, image::Rgb([value; 3]));
    let mut png = Cursor::new(Vec::new());
    photo.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A form with one file for each of `files`, and its content type.
pub(crate) fn multipart(files: &[Vec<u8>]) -> Request<Body> {
    let mut body = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let head = format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"image\"; \
             filename=\"{i}.png\"\r\nContent-Type: image/png\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    post_as("multipart/form-data; boundary=frontier", body)
}

/// A body that sends `first` and then nothing, for ever.
pub(crate) fn stalling(first: Vec<u8>) -> Body {
    use futures_util::{StreamExt, stream};
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(first))]);
    Body::from_stream(first.chain(stream::pending()))
}
