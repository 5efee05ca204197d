//! Hundreds of requests while models are replaced and evicted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::support::client::{Response, class, grey, multipart};
use crate::support::loader::{on_demand, spec};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, limits};

const REQUESTS: u32 = 600;

/// The difference between the classes of the two behaviors of `changing`.
const SHIFT: u8 = 100;

/// Requests that are in flight at the same time.
const CONCURRENCY: usize = 50;

fn value(request: u32) -> u8 {
    (request * 37 % 256) as u8
}

/// Replaces model `changing` every few milliseconds until `stop` is set.
/// Returns the number of replacements.
async fn replace_until(server: &Server, stop: &AtomicBool) -> usize {
    let mut replacements = 0;
    while !stop.load(Ordering::SeqCst) {
        let offset = if replacements % 2 == 0 { SHIFT } else { 0 };
        server
            .files
            .write("changing", 1, move || FakeNetwork::with_offset(offset));
        let registry = server.serving.registry();
        registry.load("changing", None).await.unwrap();
        replacements += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    replacements
}

fn send(server: &Server, request: u32) -> JoinHandle<Response> {
    let image = grey(value(request));
    match request % 4 {
        0 => server.spawn_classify("stable", image),
        1 => {
            let mut form = multipart(&[image.clone(), vec![0; 10], image]);
            *form.uri_mut() = "/models/changing/classify".parse().unwrap();
            server.spawn(form)
        }
        _ => server.spawn_post(image),
    }
}

/// Checks that a response is that of one model, old or new.
fn check(request: u32, response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text);
    let value = value(request);
    let either = [u64::from(value), u64::from(value.wrapping_add(SHIFT))];
    match request % 4 {
        0 => assert_eq!(response.result(), ("stable", 1, u64::from(value))),
        1 => {
            let items = &response.json;
            assert!(either.contains(&class(&items[0])), "{items}");
            assert_eq!(items[1]["status"], 415);
            let same = class(&items[0]) == class(&items[2]);
            assert!(same, "a request runs on one instance: {items}");
        }
        _ => {
            let (model, version, class) = response.result();
            assert_eq!((model, version), ("changing", 1));
            assert!(either.contains(&class), "{class} for {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_response_is_of_the_old_or_the_new_model_while_it_is_replaced() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_batch) = (1000, 7);
    let server = Arc::new(Server::new(limits, None, 2));
    for name in ["changing", "stable"] {
        server.files.write(name, 1, FakeNetwork::new);
    }
    server.start(vec![spec("changing"), spec("stable")]).await;

    let stop = Arc::new(AtomicBool::new(false));
    let replacing = {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        tokio::spawn(async move { replace_until(&server, &stop).await })
    };
    let requests: Vec<u32> = (0..REQUESTS).collect();
    for group in requests.chunks(CONCURRENCY) {
        let tasks: Vec<_> = group.iter().map(|&i| (i, send(&server, i))).collect();
        for (request, task) in tasks {
            check(request, &task.await.unwrap());
        }
        // Some requests run before the next replacement, some after it.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let replacements = replacing.await.unwrap();
    assert!(replacements > 5, "only {replacements} replacements");

    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.metric("resnet_queue_depth").await, 0.0);
    server.wait_for_memory("changing", 1).await;
    assert_eq!(server.files.loads("changing").len(), replacements + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_answered_while_models_evict_each_other() {
    let models = ["ants", "bees", "cats", "dogs"];
    let server = Server::new(limits(), Some(100), 2);
    for (offset, name) in (0..).zip(models) {
        let network = move || FakeNetwork::with_offset(offset).with_memory(40);
        server.files.write(name, 1, network);
    }
    server.start(models.map(on_demand).to_vec()).await;
    let requests: Vec<u32> = (0..REQUESTS / 2).collect();
    for group in requests.chunks(CONCURRENCY / 4) {
        let send = |&request: &u32| {
            // A model is requested several times before the next one.
            let model = request as usize / 3 % models.len();
            let task = server.spawn_classify(models[model], grey(value(request)));
            (request, model, task)
        };
        let tasks: Vec<_> = group.iter().map(send).collect();
        for (request, model, task) in tasks {
            let response = task.await.unwrap();
            let class = value(request).wrapping_add(model as u8);
            assert_eq!(response.result(), (models[model], 1, u64::from(class)));
        }
    }
    let loads: usize = models
        .map(|name| server.files.loads(name).len())
        .iter()
        .sum();
    assert!(loads > models.len(), "no model was evicted");
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    let mut loaded = 0;
    for name in models {
        let ready = server.version(name, 1).await["state"] == "ready";
        server.wait_for_memory(name, usize::from(ready)).await;
        loaded += usize::from(ready);
    }
    assert_eq!(loaded, 2, "two models of 40 bytes fit into 100");
}
