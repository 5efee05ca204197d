//! A server as a process: its log, its shutdown, and signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use crate::{photo, resnet, text};

/// A server on a free port, with its log.
pub(crate) struct Serving {
    process: Child,
    log: BufReader<ChildStderr>,
    pub(crate) address: String,
    /// What has been read of the log.
    pub(crate) seen: String,
}

impl Serving {
    /// Starts it and waits until it is ready.
    fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// Starts it with these environment variables and no others.
    pub(crate) fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
        command.env_clear().envs(variables.iter().copied());
        Self::start_as(command, flags)
    }

    fn start_as(mut command: Command, flags: &[&str]) -> Self {
        let mut process = command
            .args(["--port", "0"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut serving = Self {
            process,
            log,
            address: String::new(),
            seen: String::new(),
        };
        let line = serving.line("listening;");
        serving.address = line["address"].as_str().unwrap().to_owned();
        assert_eq!(line["level"], "INFO");
        // It answers while the model is being loaded, and so does the next.
        assert!(serving.get("/health/live").starts_with("HTTP/1.1 200 "));
        let line = serving.line("ready");
        assert!(line["models"].as_str().unwrap().contains("resnet50_thin"));
        serving
    }

    /// The next line of the log whose message starts with `message`.
    pub(crate) fn line(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "no {message} in the log"
            );
            self.seen += &line;
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            if line["message"].as_str().unwrap().starts_with(message) {
                return line;
            }
        }
    }

    pub(crate) fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
            .write_all(b"host: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> String {
        read(self.send(&format!("GET {path} HTTP/1.1\r\n"), b""))
    }

    /// Posts the first half of a photo; the rest is returned with the stream.
    fn half_a_post(&self) -> (TcpStream, Vec<u8>) {
        let photo = photo();
        let (first, rest) = photo.split_at(photo.len() / 2);
        let length = photo.len();
        let head = format!("POST /classify HTTP/1.1\r\ncontent-length: {length}\r\n");
        // The server has the head as soon as it asks for the body.
        let head = format!("{head}expect: 100-continue\r\n");
        let mut stream = self.send(&head, b"");
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first).unwrap();
        (stream, rest.to_vec())
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_line_a_request_and_no_image_in_it() {
    let mut serving = Serving::start(&[]);
    let photo = photo();
    let length = photo.len();
    let head =
        format!("POST /classify HTTP/1.1\r\nx-request-id: r-1\r\ncontent-length: {length}\r\n");
    let answer = read(serving.send(&head, &photo));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let line = serving.line("request");
    for (key, value) in [
        ("request_id", Value::from("r-1")),
        ("method", "POST".into()),
        ("path", "/classify".into()),
        ("status", 200.into()),
        ("images", 1.into()),
        ("bytes", length.into()),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    for key in ["decode_ms", "queue_ms", "forward_ms", "total_ms"] {
        assert!(
            line[key].as_f64().is_some_and(|ms| ms >= 0.0),
            "{key} in {line}"
        );
    }
    assert!(line.to_string().len() < 1000);

    let (host, port) = serving.address.rsplit_once(':').unwrap();
    let output = resnet(&["healthcheck", "--host", host, "--port", port], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).trim().ends_with(" 200 OK"));
}

#[test]
fn the_first_signal_waits_for_what_was_accepted() {
    let mut serving = Serving::start(&[]);
    let (mut stream, rest) = serving.half_a_post();
    serving.signal("-TERM");
    serving.line("shutting down");
    while !serving.get("/health/ready").starts_with("HTTP/1.1 503 ") {}
    // Load balancers have not noticed yet.
    let served = read(serving.send("POST /classify HTTP/1.1\r\ncontent-length: 0\r\n", b""));
    assert!(served.contains("/docs#empty-image"), "{served}");
    assert!(served.contains("\r\nconnection: close\r\n"), "{served}");

    stream.write_all(&rest).unwrap();
    let answer = read(stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serving.line("all requests in flight were answered");
    assert_eq!(serving.exit_code(), Some(0));
}

/// Idle connections need more file descriptors than the process may have.
#[test]
fn connections_fit_the_limit_on_file_descriptors() {
    let mut command = Command::new("sh");
    command.env_clear();
    command.args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_resnet"));
    let mut serving = Serving::start_as(command, &[]);
    assert!(serving.seen.contains("--max-connections is lowered"));
    let idle: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(&serving.address).unwrap())
        .collect();
    for path in ["/health/ready", "/models"] {
        let answer = serving.get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    serving.signal("-TERM");
    let mut log = String::new();
    serving.log.read_to_string(&mut log).unwrap();
    assert!(!log.contains("cannot accept"), "{log}");
    drop(idle);
}

#[test]
fn the_drain_timeout_ends_the_waiting() {
    let mut serving = Serving::start(&["--drain-timeout", "100ms", "--drain-delay", "off"]);
    let _held = serving.half_a_post();
    serving.signal("-INT");
    serving.line("the drain timeout has passed");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn the_second_signal_ends_at_once() {
    let mut serving = Serving::start(&[]);
    let _held = serving.half_a_post();
    serving.signal("-TERM");
    serving.line("shutting down");
    serving.signal("-TERM");
    assert_eq!(serving.exit_code(), Some(128 + 15));
}

#[test]
fn signals_that_would_kill_are_ignored_with_a_request_in_flight() {
    let mut serving = Serving::start(&[]);
    let (mut stream, rest) = serving.half_a_post();
    for signal in ["-USR2", "-QUIT"] {
        serving.signal(signal);
        serving.line("ignored");
    }
    serving.signal("-USR1");
    let server = serving.line("state of the server");
    assert_eq!(server["ready"], true, "{server}");
    assert!(server["connections"].as_u64() >= Some(1), "{server}");
    // Half a photo has arrived.
    let budgets = server["budgets"].as_str().unwrap();
    assert!(budgets.contains("/536870912"), "{budgets}");
    assert!(!budgets.starts_with("bodies 0/"), "{budgets}");
    let model = serving.line("state of a model");
    assert_eq!(model["model"], "resnet50_thin", "{model}");
    assert_eq!(model["state"], "ready", "{model}");
    stream.write_all(&rest).unwrap();
    let answer = read(stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// The reader of the log has closed the pipe, or does not read: requests are
/// answered.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    for is_gone in [true, false] {
        let mut serving = Serving::start(&[]);
        if is_gone {
            // Closes the pipe.
            let (reader, _) = std::io::pipe().unwrap();
            let nothing = ChildStderr::from(std::os::fd::OwnedFd::from(reader));
            drop(std::mem::replace(&mut serving.log, BufReader::new(nothing)));
        }
        // A pipe holds 64 KiB, and each request logs a line.
        for _ in 0..400 {
            let answer = serving.get("/models");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
        let metrics = serving.get("/metrics");
        let dropped = metrics
            .lines()
            .find_map(|line| line.strip_prefix("resnet_log_lines_dropped_total "));
        let dropped: u64 = dropped.unwrap().parse().unwrap();
        assert_eq!(dropped > 0, is_gone, "{dropped}");
        serving.signal("-TERM");
        assert_eq!(serving.exit_code(), Some(0));
    }
}

/// What became of a request on a kept-alive connection.
enum Fate {
    Answered { closes: bool },
    Lost,
}

fn ask(stream: &mut TcpStream) -> Fate {
    let request = b"GET /models HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    if stream.write_all(request).is_err() {
        return Fate::Lost;
    }
    // The body is one object.
    while !response.ends_with(b"}]}]}") {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => response.extend_from_slice(&buffer[..length]),
            _ => return Fate::Lost,
        }
    }
    Fate::Answered {
        closes: text(&response).contains("\r\nconnection: close\r\n"),
    }
}

#[test]
fn a_shutdown_loses_no_request_of_kept_alive_clients() {
    let mut serving = Serving::start(&[]);
    let address = serving.address.clone();
    let client = move || {
        let (mut answered, mut lost, mut closed) = (0, 0, 0);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Ok(mut stream) = TcpStream::connect(&address) {
            assert!(std::time::Instant::now() < end, "the server does not end");
            let before = answered;
            loop {
                match ask(&mut stream) {
                    Fate::Answered { closes: false } => answered += 1,
                    Fate::Answered { closes: true } => {
                        closed += 1;
                        break;
                    }
                    // The listener has ended while the connection was established: the
                    // kernel resets it, as if it had been refused.
                    Fate::Lost if answered == before && TcpStream::connect(&address).is_err() => {
                        break;
                    }
                    Fate::Lost => {
                        lost += 1;
                        break;
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        (answered, lost, closed)
    };
    let clients: Vec<_> = (0..8).map(|_| std::thread::spawn(client.clone())).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    serving.signal("-TERM");
    for client in clients {
        let (answered, lost, closed) = client.join().unwrap();
        assert!(answered > 0 && closed > 0, "{answered} {closed}");
        assert_eq!(lost, 0);
    }
    serving.line("all requests in flight were answered");
    assert_eq!(serving.exit_code(), Some(0));
}
