//! The tensor names of 43 networks of three libraries: every name maps to one
//! canonical name and back.

use std::collections::BTreeMap;
use std::fs;

use resnet_weights::{Checkpoint, Metadata};
use serde::Deserialize;

use crate::common::shared;

#[derive(Deserialize)]
struct Golden {
    name: String,
    tensors: BTreeMap<String, Vec<usize>>,
}

fn goldens() -> Vec<Golden> {
    let Some(folder) = shared("golden/logits") else {
        return Vec::new();
    };
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let all: Vec<Golden> = files
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    assert_eq!(all.len(), 43);
    all
}

/// Whether this is a name of torchvision, or of timm where torchvision has none.
fn is_canonical(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let norm = |leaf: &str| ["weight", "bias", "running_mean", "running_var"].contains(&leaf);
    let number = |n: &str| n.parse::<u32>().is_ok();
    match parts[..] {
        ["conv1", "weight"] | ["conv1", "0" | "3" | "6", "weight"] => true,
        ["conv1", "1" | "4", leaf] | ["bn1" | "bn", leaf] => norm(leaf),
        ["fc", leaf] => leaf == "weight" || leaf == "bias",
        [layer, block, ref inner @ ..] => {
            let stage = layer
                .strip_prefix("layer")
                .is_some_and(|n| ["1", "2", "3", "4"].contains(&n));
            stage
                && number(block)
                && match *inner {
                    ["conv1" | "conv2" | "conv3", "weight"] | ["downsample", "0", "weight"] => true,
                    ["bn1" | "bn2" | "bn3", leaf] | ["downsample", "1", leaf] => norm(leaf),
                    ["gate", leaf] | ["se", "fc1" | "fc2", leaf] => {
                        leaf == "weight" || leaf == "bias"
                    }
                    ["se", "conv", "weight"] => true,
                    _ => false,
                }
        }
        _ => false,
    }
}

#[test]
fn every_golden_name_maps_and_maps_back() {
    for golden in goldens() {
        let checkpoint =
            Checkpoint::synthetic(&golden.name, Metadata::default(), golden.tensors.clone())
                .unwrap();
        assert_eq!(
            checkpoint.tensors().count(),
            golden.tensors.len(),
            "{}",
            golden.name
        );
        for (name, shape) in checkpoint.tensors() {
            assert!(is_canonical(name), "{}: {name}", golden.name);
            let original = checkpoint.name_in_file(name);
            let expected = &golden.tensors[&original];
            let flat = name == "fc.weight" && expected.len() == 4;
            assert_eq!(
                shape,
                if flat { &expected[..2] } else { &expected[..] },
                "{original}"
            );
        }
    }
}

/// The weights of the golden outputs were computed from the names of the
/// library.
#[test]
fn synthetic_values_depend_on_the_names_in_the_file() {
    for golden in goldens().into_iter().filter(|g| g.name == "hf.resnet-18") {
        let checkpoint = Checkpoint::synthetic("hf", Metadata::default(), golden.tensors).unwrap();
        let name = "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias";
        assert_eq!(
            checkpoint
                .read("layer2.0.downsample.1.bias", &[128])
                .unwrap(),
            resnet_weights::synthetic::tensor(name, &[128])
        );
    }
}

#[test]
fn pooled_shortcuts_are_detected_from_names() {
    for golden in goldens() {
        let checkpoint =
            Checkpoint::synthetic(&golden.name, Metadata::default(), golden.tensors).unwrap();
        let expected = match golden.name.split_once('.').unwrap() {
            ("timm", name) if name.starts_with("resnetv2") => None,
            ("timm", name) if name.ends_with('d') => Some(true),
            ("torchvision" | "timm" | "hf", _) => Some(false),
            (_, "highway18" | "resnet18-2x2" | "highway20") => Some(false),
            _ => None,
        };
        assert_eq!(
            checkpoint.metadata().pooled_shortcut,
            expected,
            "{}",
            golden.name
        );
    }
}
