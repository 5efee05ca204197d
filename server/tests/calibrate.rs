//! `resnet calibrate`, and the answers of `classify` and `evaluate`, on the
//! photos of the repository.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::process::Command;

use serde_json::Value;

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../photos");

fn resnet(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// What a command prints, whose last line is JSON.
fn json(arguments: &[&str]) -> Value {
    let (success, text) = resnet(arguments);
    assert!(success, "{text}");
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The logarithm of the ratio of the two best probabilities of the cat: the
/// difference of their logits over the temperature.
fn log_ratio(model: &str) -> f64 {
    let cat = format!("{PHOTOS}/cat.jpg");
    let line = json(&["classify", "--json", "--model", model, &cat]);
    let probability = |i: usize| line["predictions"][i]["probability"].as_f64().unwrap();
    (probability(0) / probability(1)).ln()
}

#[test]
fn the_fitted_temperature_is_stored_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, calibrated, again) = (
        path("data.csv"),
        path("a.safetensors"),
        path("b.safetensors"),
    );
    let classes = [
        ("cat.jpg", "Egyptian cat"),
        ("coffee.jpg", "espresso"),
        ("rocket.png", "missile"),
    ];
    let lines = classes.map(|(file, class)| format!("{PHOTOS}/{file},{class}\n"));
    fs::write(&data, lines.concat()).unwrap();

    let (success, text) = resnet(&["calibrate", "--data", &data, "-o", &calibrated]);
    assert!(success && text.contains("fitted on 3 images"), "{text}");
    let report = json(&[
        "evaluate",
        "--json",
        "--data",
        &data,
        "--model",
        &calibrated,
    ]);
    let calibration = &report["calibration"];
    let temperature = calibration["temperature"].as_f64().unwrap();
    let (after, before) = (&calibration["nll"], &calibration["uncalibrated"]["nll"]);
    assert!(after.as_f64() < before.as_f64(), "{calibration}");
    assert!(
        text.contains(&format!("temperature {temperature:.4}")),
        "{text}"
    );

    let default = json(&["evaluate", "--json", "--data", &data]);
    let default = default["calibration"]["temperature"].as_f64().unwrap();
    let (with, without) = (
        log_ratio(&calibrated) * temperature,
        log_ratio("resnet50_thin") * default,
    );
    assert!((with - without).abs() < 1e-3, "{with}, {without}");

    // The temperature of the checkpoint does not affect the fit.
    let (_, text) = resnet(&[
        "calibrate",
        "--data",
        &data,
        "-o",
        &again,
        "--model",
        &calibrated,
    ]);
    assert!(
        text.contains(&format!("temperature {temperature:.4}")),
        "{text}"
    );
}

#[test]
fn classify_prints_the_category_and_what_was_asked_for() {
    let cat = format!("{PHOTOS}/cat.jpg");
    let (success, text) = resnet(&["classify", &cat, "--only", "dog,n02124075", "-k", "1"]);
    assert!(success, "{text}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[1].contains("Egyptian cat"), "{text}");
    assert!(
        lines[2].ends_with("is dog") && lines[3].ends_with("is Egyptian cat"),
        "{text}"
    );
    assert!(lines[4].ends_with("category: domestic cat"), "{text}");
    let (_, text) = resnet(&[
        "classify",
        &cat,
        "--threshold",
        "0.2",
        "--min-confidence",
        "0.3",
    ]);
    assert!(text.contains("tabby") && !text.contains("lynx"), "{text}");
    assert!(text.contains("category: Egyptian cat"), "{text}");
    let (success, text) = resnet(&["classify", &cat, "--only", "domestik cat"]);
    assert!(!success && text.contains("`domestic cat`"), "{text}");
}
