//! Models are replaced, broken, unloaded and evicted while clients send
//! requests to the `resnet` binary: no request is lost, and every response is
//! that of a whole model. Memory is freed.
//!
//! `RELOAD_SECONDS=60 RELOAD_CYCLES=50 RELOAD_MODEL=resnet50` runs the long
//! form; `make reload` does, on a release build.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../photos/cat.jpg");

/// Time between two changes of a model.
const PAUSE: Duration = Duration::from_millis(500);

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable);
    text.map_or(default, |text| text.parse().unwrap())
}

/// Writes a checkpoint of random weights; `sign` -1 negates the classifier, so
/// that the results differ.
fn write_checkpoint(architecture: &str, sign: f32, path: &Path) {
    let checkpoint = model::synthetic(architecture).unwrap();
    let fc = "fc.weight";
    let shape = checkpoint.shape(fc).unwrap().to_vec();
    let weight = checkpoint.read(fc, &shape).unwrap();
    let weight = weight.into_iter().map(|w| sign * w).collect();
    let checkpoint = checkpoint.with_values([(fc.to_owned(), weight)]).unwrap();
    let metadata = model::complete_metadata(&checkpoint).unwrap();
    let dtype = weights::StoredDtype::Kept;
    let target = weights::Target {
        path,
        replace: true,
    };
    let go_on = &mut |_, _| std::ops::ControlFlow::Continue(());
    weights::write(&checkpoint, &metadata, dtype, &target, go_on).unwrap();
}

/// The predictions of a checkpoint for the image, without a server.
fn predictions(checkpoint: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "--json", "--model"])
        .args([checkpoint, Path::new(IMAGE)])
        .env_clear()
        .output()
        .unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    line["predictions"].clone()
}

/// A server with an admin listener on free ports.
struct Server {
    process: Child,
    public: String,
    admin: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(["serve", "--port", "0", "--admin", "127.0.0.1:0"])
            .args(["--watch", "100ms", "--log-format", "json"])
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = |message: &str| loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "no {message}");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().unwrap().starts_with(message) {
                return line["address"].as_str().unwrap_or_default().to_owned();
            }
        };
        let public = line("listening; ");
        let admin = line("listening for administration");
        line("ready");
        // The log must be read, or the server would wait for the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            public,
            admin,
        }
    }

    /// Posts to the admin listener and returns the status.
    fn admin(&self, path: &str) -> u16 {
        Client::connect(&self.admin).post(path, b"").0
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that is kept alive.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).unwrap();
        Self(BufReader::new(stream))
    }

    /// Status and body of a POST.
    fn post(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, body)
    }
}

/// What a client received: the number of responses by model and by the index
/// of the expected result.
type Counts = BTreeMap<(String, usize), u64>;

/// Sends requests to each model in rotation until `stop` is set. Every response
/// must be one of the results expected of its model.
fn client(
    address: String,
    expected: Vec<(String, Vec<Value>)>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Counts> {
    let image = std::fs::read(IMAGE).unwrap();
    std::thread::spawn(move || {
        let mut client = Client::connect(&address);
        let mut counts = Counts::new();
        while !stop.load(Ordering::Relaxed) {
            for (model, expected) in &expected {
                let (status, body) = client.post(&format!("/models/{model}/classify"), &image);
                let text = String::from_utf8_lossy(&body);
                assert_eq!(status, 200, "{model}: {text}");
                let body: Value = serde_json::from_slice(&body).unwrap();
                let found = expected.iter().position(|e| *e == body["predictions"]);
                let found = found.unwrap_or_else(|| panic!("{model}: unexpected {text}"));
                *counts.entry((model.clone(), found)).or_default() += 1;
            }
        }
        counts
    })
}

/// Replaces a file by a copy of another one, in one step.
fn replace(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).unwrap();
    std::fs::rename(&new, to).unwrap();
}

#[test]
fn no_request_is_lost_while_models_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    write_checkpoint("cifar_resnet20", 1.0, &a);
    write_checkpoint("cifar_resnet20", -1.0, &b);
    let (of_a, of_b) = (predictions(&a), predictions(&b));
    assert_ne!(of_a, of_b);
    let swapped = folder.path().join("swapped.safetensors");
    std::fs::copy(&a, &swapped).unwrap();
    let flag = |name: &str, path: &Path| format!("--model={name}={}", path.display());
    let server = Server::start(&[&flag("fixed", &a), &flag("swapped", &swapped)]);

    let stop = Arc::new(AtomicBool::new(false));
    let expected = vec![
        ("fixed".to_owned(), vec![of_a.clone()]),
        ("swapped".to_owned(), vec![of_a, of_b]),
    ];
    let clients: Vec<_> = (0..4)
        .map(|_| client(server.public.clone(), expected.clone(), Arc::clone(&stop)))
        .collect();
    let end = Instant::now() + Duration::from_secs(number("RELOAD_SECONDS", 6));
    let broken = std::fs::read(&a).unwrap();
    for step in 0.. {
        if Instant::now() > end {
            break;
        }
        match step % 5 {
            0 => replace(&b, &swapped),
            1 => replace(&a, &swapped),
            // Written in place and slowly: never whole until the end.
            2 => {
                let bytes = std::fs::read(&b).unwrap();
                let mut file = std::fs::File::create(&swapped).unwrap();
                for part in bytes.chunks(bytes.len() / 4 + 1) {
                    file.write_all(part).unwrap();
                    std::thread::sleep(Duration::from_millis(40));
                }
            }
            // A truncated file changes nothing.
            3 => std::fs::write(&swapped, &broken[..broken.len() / 2]).unwrap(),
            _ => assert_eq!(server.admin("/models/fixed/load"), 204),
        }
        std::thread::sleep(PAUSE);
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = Counts::new();
    for client in clients {
        for (key, count) in client.join().expect("a client failed") {
            *total.entry(key).or_default() += count;
        }
    }
    println!("responses by model and result: {total:?}");
    for key in [("fixed", 0), ("swapped", 0), ("swapped", 1)] {
        let count = total.get(&(key.0.to_owned(), key.1));
        assert!(count.is_some_and(|count| *count > 0), "{key:?}: {total:?}");
    }
}

#[test]
fn no_request_is_lost_while_models_are_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b", "c"].map(|name| folder.path().join(format!("{name}.safetensors")));
    write_checkpoint("cifar_resnet20", 1.0, &files[0]);
    write_checkpoint("cifar_resnet20", -1.0, &files[1]);
    write_checkpoint("cifar_resnet32", 1.0, &files[2]);
    let config = folder.path().join("resnet.toml");
    let mut text = String::new();
    for (name, file) in ["a", "b", "c"].iter().zip(&files) {
        text += &format!(
            "[[model]]\nname = \"{name}\"\nsource = \"{}\"\nload = \"on-demand\"\n",
            file.display()
        );
    }
    std::fs::write(&config, text).unwrap();
    // Room for about one of them.
    let config = config.to_str().unwrap();
    let server = Server::start(&["--config", config, "--model-memory", "16MiB"]);
    let stop = Arc::new(AtomicBool::new(false));
    let expected = |i: usize| (["a", "b", "c"][i].to_owned(), vec![predictions(&files[i])]);
    let clients: Vec<_> = [[0, 1], [1, 2], [2, 0]]
        .map(|models| {
            let expected = models.map(expected).to_vec();
            client(server.public.clone(), expected, Arc::clone(&stop))
        })
        .into();
    let end = Instant::now() + Duration::from_secs(number("RELOAD_SECONDS", 6));
    while Instant::now() < end {
        std::thread::sleep(PAUSE);
        assert_eq!(server.admin("/models/b/unload"), 204);
    }
    stop.store(true, Ordering::Relaxed);
    let answered: u64 = clients
        .into_iter()
        .flat_map(|client| client.join().expect("a client failed").into_values())
        .sum();
    println!("{answered} responses");
    assert!(answered > 0);
}

#[test]
fn unloading_frees_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let architecture = std::env::var("RELOAD_MODEL").unwrap_or("resnet18".into());
    write_checkpoint(&architecture, 1.0, &file);
    let server = Server::start(&[&format!("--model=m={}", file.display())]);
    let image = std::fs::read(IMAGE).unwrap();
    let resident: Vec<u64> = (0..number("RELOAD_CYCLES", 6))
        .map(|_| {
            assert_eq!(server.admin("/models/m/load"), 204);
            let mut client = Client::connect(&server.public);
            assert_eq!(client.post("/models/m/classify", &image).0, 200);
            assert_eq!(server.admin("/models/m/unload"), 204);
            // The last request may hold its reference for a moment longer.
            std::thread::sleep(Duration::from_millis(200));
            server.resident()
        })
        .collect();
    println!("resident KiB after each unload of {architecture}: {resident:?}");
    let (first, last) = (resident[0] as f64, *resident.last().unwrap() as f64);
    // The allocator keeps up to a megabyte for each thread that has run since.
    assert!(last <= 1.1 * first + 2048.0, "{resident:?}");
}
