//! `openapi.yaml` against the real server with the default model: every
//! example is asked for as its `x-request` says, and must be what comes back.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use model::{Card, Model};
use serde_json::{Map, Value, json};
use server::classifier::Classifier;
use server::config::{Config, ServeFlags};
use server::network::Network;
use server::problem::Kind;
use server::service::Service;
use weights::{Labels, Recipe};

use crate::support::{Answer, Gate, base64, multipart, post_as, send, stalling};

/// Largest difference of a probability from one processor to another.
const TOLERANCE: f64 = 0.01;

static CONTRACT: LazyLock<Value> = LazyLock::new(|| {
    serde_norway::from_str(include_str!("../../../openapi.yaml")).expect("openapi.yaml is YAML")
});

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
}

fn ready() -> Arc<Service> {
    let service = Arc::new(Service::new(CONFIG.limits.clone()));
    let network = Arc::clone(&MOODY);
    let (cores, metrics) = (network.cores.clone(), Arc::clone(service.metrics()));
    service.open(Classifier::start(network, cores, &CONFIG.limits, metrics).unwrap());
    service
}

/// One example of an answer, and where the contract has it.
struct Example<'a> {
    name: String,
    path: &'a str,
    method: &'a str,
    status: u16,
    content_type: &'a str,
    headers: Vec<&'a str>,
    example: &'a Value,
}

/// Follows a `$ref` into the contract.
fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => CONTRACT
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), value))
}

/// Every operation of the contract: path, method, operation.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    object(&CONTRACT["paths"]).flat_map(|(path, methods)| {
        object(methods).map(move |(method, operation)| (path, method, operation))
    })
}

/// The examples of one response; a content without any counts as an example
/// whose body is not compared.
fn examples_of(
    path: &'static str,
    method: &'static str,
    status: u16,
    response: &'static Value,
) -> Vec<Example<'static>> {
    let response = resolve(response);
    let mut examples = Vec::new();
    for (content_type, content) in object(&response["content"]) {
        let mut found: Vec<(&str, &Value)> = object(&content["examples"]).collect();
        if found.is_empty() {
            found.push(("", &Value::Null));
        }
        examples.extend(found.into_iter().map(|(name, example)| Example {
            name: format!("{method} {path} {status} {name}"),
            path: example["x-request"]["path"].as_str().unwrap_or(path),
            method,
            status,
            content_type,
            headers: object(&response["headers"]).map(|(name, _)| name).collect(),
            example,
        }));
    }
    examples
}

fn examples() -> Vec<Example<'static>> {
    let mut all = Vec::new();
    for (path, method, operation) in operations() {
        for (status, response) in object(&operation["responses"]) {
            all.extend(examples_of(path, method, status.parse().unwrap(), response));
        }
    }
    for (name, status) in [("NotFound", 404), ("MethodNotAllowed", 405)] {
        let response = &CONTRACT["components"]["responses"][name];
        all.extend(examples_of("/", "get", status, response));
    }
    all
}

fn file(path: &Value) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read(root.join(path.as_str().unwrap())).unwrap()
}

fn files(paths: &Value) -> Vec<Vec<u8>> {
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
async fn ask(example: &Example<'_>) -> Answer {
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

/// Compares what came with what the example promises.
fn compare(example: &Example<'_>, answer: &Answer) {
    let name = &example.name;
    assert_eq!(
        answer.status.as_u16(),
        example.status,
        "{name}: {}",
        answer.text
    );
    assert_eq!(
        answer.header("content-type"),
        example.content_type,
        "{name}"
    );
    assert!(!answer.header("x-request-id").is_empty(), "{name}");
    for header in &example.headers {
        assert!(
            answer.headers.contains_key(*header),
            "{name} has no {header}"
        );
    }
    let Some(promised) = example.example.get("value") else {
        return;
    };
    if let Some(prefix) = example.example["x-lines"].as_str() {
        let lines: Vec<&str> = answer
            .text
            .lines()
            .filter(|line| line.starts_with(prefix))
            .collect();
        assert_eq!(
            lines,
            promised.as_str().unwrap().lines().collect::<Vec<_>>(),
            "{name}"
        );
    } else if example.content_type.ends_with("json") {
        let mut promised = promised.clone();
        let mut found = answer.json.clone();
        level(&mut promised, &mut found, example.example);
        let difference = difference(&promised, &found);
        assert!(
            difference.is_none(),
            "{name}: {}\nanswered: {}",
            difference.unwrap_or_default(),
            serde_json::to_string_pretty(&found).unwrap()
        );
    } else {
        assert_eq!(answer.text, promised.as_str().unwrap(), "{name}");
    }
}

/// Takes out of both what an example says is shortened or differs from one
/// machine to another.
fn level(promised: &mut Value, found: &mut Value, example: &Value) {
    let names = |key: &str| -> Vec<String> {
        let names = example[key].as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    for name in names("x-shortened") {
        let shown = promised[&name].as_array().unwrap().len();
        let items = found[&name].as_array_mut().unwrap();
        assert!(items.len() > shown, "{name} is not longer than the example");
        items.truncate(shown);
    }
    for name in names("x-varies") {
        assert!(found[&name].is_string(), "{name}");
        promised[&name] = Value::Null;
        found[&name] = Value::Null;
    }
}

/// The first place where two answers differ in more than ids and the last
/// digits of probabilities.
fn difference(promised: &Value, found: &Value) -> Option<String> {
    match (promised, found) {
        (Value::Object(a), Value::Object(b)) => {
            if !a.keys().eq(b.keys()) {
                let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
                return Some(format!("keys {:?}, not {:?}", keys(b), keys(a)));
            }
            let values = a
                .iter()
                .zip(b.values())
                .filter(|((key, _), _)| *key != "request_id");
            values.into_iter().find_map(|((key, a), b)| {
                let close = |a: f64, b: f64| (a - b).abs() <= TOLERANCE;
                match (key.as_str(), a.as_f64(), b.as_f64()) {
                    ("probability", Some(a), Some(b)) if close(a, b) => None,
                    _ => difference(a, b).map(|rest| format!("{key}: {rest}")),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(a, b))
        }
        _ => (promised != found).then(|| format!("{found}, not {promised}")),
    }
}

#[tokio::test]
async fn every_example_of_an_answer_is_what_the_server_answers() {
    let mut differences = Vec::new();
    for example in examples() {
        let answer = ask(&example).await;
        let compare = std::panic::AssertUnwindSafe(|| compare(&example, &answer));
        if std::panic::catch_unwind(compare).is_err() {
            differences.push(example.name);
        }
    }
    assert!(
        differences.is_empty(),
        "the contract and the server differ: {differences:#?}"
    );
}

#[tokio::test]
async fn every_example_of_a_request_is_understood() {
    let service = ready();
    let content = &CONTRACT["paths"]["/classify"]["post"]["requestBody"]["content"];
    let mut asked = 0;
    for (content_type, form) in object(content) {
        for (name, example) in object(&form["examples"]) {
            let request = if let Some(paths) = example.get("x-files") {
                multipart(&files(paths))
            } else if example.get("externalValue").is_some() {
                post_as("image/jpeg", file(&example["externalValue"]))
            } else {
                post_as(content_type, example["value"].to_string())
            };
            let answer = send(&service, request).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            let items = answer.json.as_array().cloned().unwrap_or(vec![answer.json]);
            for item in items {
                assert_eq!(
                    item["predictions"].as_array().unwrap().len(),
                    5,
                    "{name}: {item}"
                );
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 4);
    assert_eq!(base64(&file(&json!("photos/rocket.png"))).len() % 4, 0);
}

/// Each kind of problem, each route and each field is in the contract and on
/// the page for people.
#[test]
fn contract_and_page_leave_nothing_out() {
    let page = include_str!("../../src/http/pages/docs.html");
    let text = include_str!("../../../openapi.yaml");
    for kind in Kind::ALL {
        let uri = kind.type_uri();
        let name = uri.trim_start_matches("/docs#");
        let status = kind.status().as_u16();
        let row = format!("<tr id=\"{name}\"><td>{status}</td><td><code>{name}</code></td>");
        assert!(page.contains(&row), "docs.html lacks {row}");
        assert!(
            text.contains(&format!("type: {uri}\n")),
            "openapi.yaml lacks {uri}"
        );
        assert!(
            text.contains(&format!("title: {}\n", kind.title())),
            "{uri}'s title"
        );
    }
    for (path, method, _) in operations() {
        let heading = format!("{} {path}<", method.to_uppercase());
        let row = format!("{} <a href=\"{path}\">{path}</a>", method.to_uppercase());
        assert!(
            page.contains(&heading) || page.contains(&row),
            "docs.html lacks {row}"
        );
    }
    let schemas = &CONTRACT["components"]["schemas"];
    for schema in ["Photos", "Answer", "Prediction", "Problem", "Model"] {
        let variants = schemas[schema]["oneOf"].as_array().cloned();
        for variant in variants.unwrap_or(vec![schemas[schema].clone()]) {
            for (property, _) in object(&variant["properties"]) {
                assert!(
                    page.contains(&format!("<code>{property}</code>"))
                        || page.contains(&format!("\"{property}\"")),
                    "docs.html lacks {schema}'s {property}"
                );
            }
        }
    }
    assert!(page.contains("<code>top_k</code>") && page.contains("<code>X-Request-Id</code>"));
}
