//! The `resnet` binary as a process: its output, its start and its end.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

fn resnet(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn errors_of_flags_and_variables_are_reported_together() {
    let variables = [("RESNET_PORT", "port"), ("RESNET_QUEUE", "0")];
    for command in [&["--max-batch", "x"][..], &["serve", "--max-batch", "x"]] {
        let output = resnet(command, &variables);
        let error = text(&output.stderr);
        assert!(!output.status.success());
        for expected in ["--port port:", "--max-in-flight 0:", "--max-batch x:"] {
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn help_lists_commands_flags_variables_and_examples() {
    let help = resnet(&["--help"], &[]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for word in [
        "serve",
        "healthcheck",
        "--max-batch",
        "RESNET_MAX_BATCH",
        "curl --data-binary",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

/// `resnet ... | head`: the read end of the pipe is closed before anything is
/// printed.
#[test]
fn a_closed_output_pipe_ends_every_command_quietly() {
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../photos/cat.jpg");
    let bench = ["bench", "--model", "cifar_resnet20", "--seconds", "0"];
    for arguments in [
        &["models"][..],
        &["models", "--json"],
        &["inspect", "cifar_resnet20", "--steps"],
        &bench,
        &["classify", photo],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(arguments)
            .env_clear()
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn a_healthcheck_fails_without_a_server() {
    // no server listens on port 1; healthcheck accepts the variables of `serve`
    let variables = [("RESNET_PORT", "1"), ("RESNET_HOST", "0.0.0.0")];
    let output = resnet(&["healthcheck"], &variables);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("no response from 127.0.0.1:1"), "{error}");
}

#[test]
fn a_source_that_is_no_checkpoint_ends_the_start() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let output = resnet(&["--port", "0", "--model", folder], &[]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(folder));
    let output = resnet(&["--port", "0", "--model", "resnet5O"], &[]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("resnet50"));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = resnet(&["--port", "0", "--weights", manifest], &[]);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("no model can be loaded"), "{error}");
}

/// A server on a free port, with its log.
struct Serving {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Serving {
    /// Starts it and waits until it is ready.
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(["--port", "0"])
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut serving = Self {
            process,
            log,
            address: String::new(),
        };
        let line = serving.line("listening");
        serving.address = line["address"].as_str().unwrap().to_owned();
        assert_eq!(line["level"], "INFO");
        // It answers while the model is being loaded, and so does the next.
        assert!(serving.get("/health/live").starts_with("HTTP/1.1 200 "));
        let line = serving.line("ready");
        assert!(line["models"].as_str().unwrap().contains("resnet50_thin"));
        serving
    }

    /// The next line of the log whose message starts with `message`.
    fn line(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "no {message} in the log"
            );
            let line: Value = serde_json::from_str(&line).expect("the log is JSON");
            if line["message"].as_str().unwrap().starts_with(message) {
                return line;
            }
        }
    }

    fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
            .write_all(b"host: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
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

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn photo() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../photos/cat.jpg")).unwrap()
}

fn read(mut stream: TcpStream) -> String {
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
fn convert_replaces_only_regular_files_and_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let out = out.to_str().unwrap();
    let convert =
        |arguments: &[&str]| resnet(&[&["convert", "resnet50_thin"], arguments].concat(), &[]);
    assert!(convert(&[out]).status.success());
    let refused = convert(&[out]);
    assert_eq!(refused.status.code(), Some(1));
    // the whole of standard error: the error is printed once
    assert_eq!(
        text(&refused.stderr),
        format!("Error: {out} exists; choose another name, or replace it with --force\n")
    );
    assert!(convert(&[out, "--force"]).status.success());
    let fifo = folder.path().join("fifo");
    let fifo = fifo.to_str().unwrap();
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let refused = convert(&[fifo, "--force"]);
    assert!(text(&refused.stderr).contains("is not a regular file"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// The limit of the size of a file stands for a full disk.
#[test]
fn convert_leaves_nothing_behind_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "ulimit -f 1000; trap '' XFSZ; exec '{}' convert resnet50_thin out.safetensors",
        env!("CARGO_BIN_EXE_resnet")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.starts_with("Error: cannot write out.safetensors: "),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A signal may arrive at any time: the file is complete or not there.
#[test]
fn an_interrupted_convert_leaves_nothing_behind() {
    for pause in [0, 5, 20, 60] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_resnet"))
            .args(["convert", "resnet50_thin", "out.safetensors"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // until it writes
        while child.try_wait().unwrap().is_none()
            && std::fs::read_dir(folder.path()).unwrap().count() == 0
        {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let pid = child.id().to_string();
        let _ = Command::new("kill")
            .args(["-TERM", &pid])
            .stderr(Stdio::null())
            .status();
        let status = child.wait().unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        match status.code() {
            Some(0) => assert_eq!(names, ["out.safetensors"]),
            code => assert_eq!((code, names.len()), (Some(143), 0), "{names:?}"),
        }
    }
}

#[test]
fn inspect_shows_what_was_decided_and_from_what() {
    let output = resnet(&["inspect", "resnet50_thin"], &[]);
    let shown = text(&output.stdout);
    for line in [
        "architecture   resnet50_thin (named `resnet50_thin` by the metadata of the weights)",
        "activation     softmax (assumed: the checkpoint does not say)",
        "labels         1000 (the metadata of the weights)",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn signals_that_would_kill_are_ignored_with_a_request_in_flight() {
    let mut serving = Serving::start(&[]);
    let (mut stream, rest) = serving.half_a_post();
    for signal in ["-USR1", "-USR2", "-QUIT"] {
        serving.signal(signal);
        serving.line("ignored");
    }
    stream.write_all(&rest).unwrap();
    let answer = read(stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// The reader of the log is gone, or does not read: requests are answered.
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
            loop {
                match ask(&mut stream) {
                    Fate::Answered { closes: false } => answered += 1,
                    Fate::Answered { closes: true } => {
                        closed += 1;
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

/// `resnet classify` on standard input.
fn classify(arguments: &[&std::ffi::OsStr], input: &[u8]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "-k1"])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    process.wait_with_output().unwrap()
}

/// A folder that is removed at the end, with these files.
fn folder(files: &[(&[u8], &[u8])]) -> tempfile::TempDir {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let name = std::ffi::OsStr::from_bytes(name);
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn every_line_of_json_is_json_and_no_file_harms_another() {
    let photo = photo();
    let files = [
        (&b"a\xe4.jpg"[..], &photo[..]),
        (b"b.jpg", &photo),
        (b"IMG_1.XYZ", &photo),
        (b"._b.jpg", b"\0\x05\x16\x07"),
    ];
    let folder = folder(&files);
    let pipe = folder.path().join("pipe.jpg");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let arguments = [
        "--json".as_ref(),
        pipe.as_os_str(),
        folder.path().as_os_str(),
    ];
    let output = classify(&arguments, b"");
    let errors = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(1),
        "the pipe has no image: {errors}"
    );
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed: Vec<bool> = lines.iter().map(|line| line["error"].is_string()).collect();
    assert_eq!(failed, [true, false, false], "{lines:?}");
    assert!(lines[1]["file_base64"].is_string(), "{}", lines[1]);
    for skipped in ["IMG_1.XYZ", "._b.jpg", "pipe.jpg"] {
        assert!(errors.contains(skipped), "{errors}");
    }
}

#[test]
fn images_and_lists_of_images_on_standard_input() {
    let folder = folder(&[(b"b.jpg", &photo())]);
    let path = folder.path().join("b.jpg");
    let one = classify(&["--format=csv".as_ref(), "-".as_ref()], &photo());
    let list = format!("{}\n", path.display());
    let arguments = [
        "--format=csv".as_ref(),
        "--files-from".as_ref(),
        "-".as_ref(),
    ];
    let listed = classify(&arguments, list.as_bytes());
    let name = path.display().to_string();
    for (output, name) in [(one, "-"), (listed, name.as_str())] {
        assert!(output.status.success(), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        let rows: Vec<&str> = out.lines().collect();
        assert_eq!(rows.len(), 2, "{out}");
        let start = format!("{name},1,285,n02124075,Egyptian cat,0.");
        assert!(rows[1].starts_with(&start), "{out}");
    }
}
