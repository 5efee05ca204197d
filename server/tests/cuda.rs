//! The binary with the CUDA feature on a machine without NVIDIA's driver: it
//! starts, runs on the CPU, and reports the library that is missing.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `resnet classify` on one image. Returns whether it succeeded, and its
/// output.
fn classify(device: &str) -> (bool, String) {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../photos/cat.jpg");
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "--json", "--device", device])
        .arg(image)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// The log of a server until it is ready.
fn startup_log(device: &str) -> String {
    let mut server = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["serve", "--port", "0", "--device", device])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    for line in BufReader::new(server.stderr.take().unwrap()).lines() {
        log += &line.unwrap();
        log += "\n";
        if log.contains("\"ready; try") {
            break;
        }
    }
    server.kill().unwrap();
    server.wait().unwrap();
    log
}

#[test]
fn without_a_driver_auto_selects_the_cpu_and_cuda_is_an_error() {
    let (success, output) = classify("cuda:1,0");
    if !output.contains("libcuda.so.1 was not found") {
        println!("skipped: NVIDIA's driver is installed: {output}");
        assert!(success || output.contains("cuda:"), "{output}");
        return;
    }
    assert!(
        !success && output.contains("`cuda:1` cannot be used"),
        "{output}"
    );
    let (success, output) = classify("auto");
    assert!(success && output.contains("Egyptian cat"), "{output}");
    let log = startup_log("auto");
    let line = log.lines().find(|line| line.contains("device auto: cpu"));
    let line = line.unwrap_or_else(|| panic!("no line names the device:\n{log}"));
    assert!(line.contains("libcuda.so.1 was not found"), "{line}");
}
