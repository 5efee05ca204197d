//! The binary with the CUDA feature on a machine without NVIDIA's driver: it
//! starts, serves on the processor, and says what is missing.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// What classifying a photo says, and whether it worked.
fn classify(device: &str) -> (bool, String) {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../photos/cat.jpg");
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["classify", "--json", "--device", device])
        .arg(photo)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// The log of a server up to where it is ready.
fn log_of_start(device: &str) -> String {
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
fn without_a_driver_auto_is_the_processor_and_cuda_an_error() {
    let (classified, said) = classify("cuda:1,0");
    if !said.contains("libcuda.so.1 was not found") {
        println!("skipped: there is a driver: {said}");
        assert!(classified || said.contains("cuda:"), "{said}");
        return;
    }
    assert!(
        !classified && said.contains("`cuda:1` cannot be used"),
        "{said}"
    );
    let (classified, said) = classify("auto");
    assert!(classified && said.contains("Egyptian cat"), "{said}");
    let log = log_of_start("auto");
    let told = log.lines().find(|line| line.contains("device auto: cpu"));
    let told = told.unwrap_or_else(|| panic!("no word of the device in\n{log}"));
    assert!(told.contains("libcuda.so.1 was not found"), "{told}");
}
