//! The figures on the models' cards, reached by the program itself.

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

/// The last line of `evaluate --json`: the whole's figures.
fn evaluate(model: &str, data: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_resnet"))
        .args(["evaluate", "--json", "--model", model, "--data"])
        .arg(data)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
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
