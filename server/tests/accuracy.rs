//! The accuracies that the model cards state, measured with the `resnet` binary.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("SHARED_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    if !shared.is_dir() {
        println!("skipped: no ../shared");
        return None;
    }
    Some(shared)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the program prints.
fn resnet(arguments: &[&str], last: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(arguments)
        .arg(last)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The last line of `evaluate --json`: the whole's figures.
fn evaluate(model: &str, data: &Path) -> Value {
    let text = resnet(&["evaluate", "--json", "--model", model, "--data"], data);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The first class of every photo in a folder.
fn firsts(dtype: &str, photos: &Path) -> Vec<u64> {
    let text = resnet(&["classify", "--json", "--dtype", dtype], photos);
    let first = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["predictions"][0]["index"].as_u64().unwrap()
    };
    text.lines().map(first).collect()
}

#[test]
fn the_default_model_reaches_its_card() {
    let Some(shared) = shared() else { return };
    let card = json(&shared.join("weights/card.json"));
    let report = evaluate("resnet50_thin", &shared.join("imagenet/sample"));
    assert_eq!(report["failed"], 0);
    for figure in ["top1", "top5"] {
        let told = card["sample200"][figure].as_f64().unwrap();
        let found = report[figure]["percent"].as_f64().unwrap();
        assert!(
            (told - found).abs() <= 0.5,
            "{figure}: {found}, card {told}"
        );
    }
}

#[test]
fn the_trained_cifar_networks_reach_pytorchs_accuracy() {
    let Some(shared) = shared() else { return };
    let expected = json(&shared.join("cifar/expected.json"));
    for (name, model) in expected["models"].as_object().unwrap() {
        let file = shared.join("cifar").join(model["file"].as_str().unwrap());
        let report = evaluate(file.to_str().unwrap(), &shared.join("cifar/test"));
        let told = 100.0 * model["top1_subset"].as_f64().unwrap();
        let found = report["top1"]["percent"].as_f64().unwrap();
        assert!(
            (told - found).abs() <= 0.2,
            "{name}: {found}, expected {told}"
        );
    }
}

#[test]
fn bf16_sees_what_f32_sees() {
    let Some(shared) = shared() else { return };
    let photos = shared.join("imagenet/sample");
    let (exact, rounded) = (firsts("f32", &photos), firsts("bf16", &photos));
    let equal = exact.iter().zip(&rounded).filter(|(a, b)| a == b).count();
    assert_eq!(exact.len(), 200);
    assert!(equal >= 198, "{equal} of 200");
}

#[test]
fn eight_bits_cost_at_most_a_point() {
    let Some(shared) = shared() else { return };
    let photos = shared.join("imagenet/sample");
    let file = std::env::temp_dir().join(format!("resnet-int8-{}.safetensors", std::process::id()));
    let folder = photos.to_str().unwrap();
    let flags = [
        "quantize",
        "resnet50_thin",
        "--images",
        "100",
        "--calibrate",
        folder,
    ];
    let said = resnet(&flags, &file);
    let size = std::fs::metadata(&file).unwrap().len();
    let (whole, quantized) = (
        evaluate("resnet50_thin", &photos),
        evaluate(file.to_str().unwrap(), &photos),
    );
    std::fs::remove_file(&file).unwrap();
    assert!(
        said.contains("resnet50_thin in int8, calibrated on 100 images"),
        "{said}"
    );
    assert!(size < 7_500_000, "{size} bytes for 6.93 million parameters");
    let top1 = |report: &Value| report["top1"]["percent"].as_f64().unwrap();
    let lost = top1(&whole) - top1(&quantized);
    assert!(lost <= 1.0, "{lost} points");
}
