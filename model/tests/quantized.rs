//! Compares networks that PyTorch has quantized with what it computes itself:
//! `quantized/make.py`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use resnet_model::family::{self, Architecture};
use resnet_model::graph::Graph;
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{Backend, Dtype, Input, Outputs, SupportedIsa, ThreadPool, build};
use weights::{Checkpoint, Preprocessing, StoredDtype, Target, integers, synthetic, write};

#[derive(serde::Deserialize)]
struct Expected {
    row: String,
    groups: usize,
    widening: usize,
    layers: Vec<usize>,
    planes: Vec<usize>,
    logits: Vec<f32>,
    fused: Vec<f32>,
}

/// Height and width of the input.
const SIDE: usize = 64;

/// The largest difference of a logit, relative to the largest logit, from a network
/// that rounds where this one does: 2e-6 was measured. Where the order of the sums is
/// another one, a value between two integers may be rounded to the other one, which
/// changes a logit by up to 3 % here.
const TOLERANCE: f32 = 0.04;

/// From PyTorch, which also rounds the output of the last convolution of a block before
/// it adds the shortcut, and the logits, each to the 128 steps of the range that it has
/// calibrated. Here are 8 channels, whose errors do not cancel each other: 5 % was
/// measured.
const PYTORCH_TOLERANCE: f32 = 0.08;

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quantized");
    folder.join(format!("{name}.pth"))
}

/// Each network with its graph, the logits of PyTorch, and those without the roundings
/// that are not done here.
fn networks() -> Vec<(Graph, Checkpoint, [Vec<f32>; 2])> {
    let expected: BTreeMap<String, Expected> =
        serde_json::from_str(include_str!("quantized/expected.json")).unwrap();
    let network = |(name, expected): (String, Expected)| {
        let row = Architecture {
            stem_planes: expected.planes[0],
            groups: expected.groups,
            widening: expected.widening,
            layers: expected.layers.leak(),
            planes: expected.planes.leak(),
            ..*family::find(&expected.row).unwrap()
        };
        let graph = build::build(&row, SIDE, expected.logits.len());
        let checkpoint = Checkpoint::open(&path(&name)).unwrap();
        (graph, checkpoint, [expected.logits, expected.fused])
    };
    expected.into_iter().map(network).collect()
}

fn logits(graph: &Graph, checkpoint: &Checkpoint, dtype: Dtype, isa: SupportedIsa) -> Vec<f32> {
    let threads = ThreadPool::new(2).unwrap();
    let config = CpuConfig { dtype, isa };
    let plan = CpuPlan::new(
        graph,
        checkpoint,
        &Preprocessing::imagenet(),
        config,
        &threads,
    );
    let input = synthetic::tensor("input", &[1, 3, SIDE, SIDE]);
    let output = plan
        .unwrap()
        .forward(Input::Planes(&input), Outputs::LOGITS);
    output.unwrap().logits
}

/// The largest difference of a logit, relative to the largest logit.
fn error(logits: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = logits.iter().zip(expected);
    pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn the_logits_are_those_of_pytorch() {
    for (graph, checkpoint, [pytorch, fused]) in networks() {
        let name = checkpoint.name();
        let parameters: BTreeSet<String> = graph.parameters().into_iter().map(|(n, _)| n).collect();
        let tensors: BTreeSet<String> = checkpoint.tensors().map(|(n, _)| n.to_owned()).collect();
        assert_eq!(tensors, parameters, "{name}");
        for isa in SupportedIsa::all() {
            let int8 = logits(&graph, &checkpoint, Dtype::Int8, isa);
            let f32 = logits(&graph, &checkpoint, Dtype::F32, isa);
            let errors = [
                (error(&int8, &fused), TOLERANCE),
                (error(&int8, &pytorch), PYTORCH_TOLERANCE),
                (error(&f32, &pytorch), PYTORCH_TOLERANCE),
            ];
            println!("{name} on {isa:?}: {errors:?}");
            assert!(
                errors.iter().all(|(error, most)| error < most),
                "{name} on {isa:?}: {errors:?}"
            );
        }
    }
}

#[test]
fn integers_of_minus_128_do_not_change() {
    let folder = tempfile::tempdir().unwrap();
    for (graph, checkpoint, _) in networks() {
        let weights = |checkpoint: &Checkpoint| {
            let shape = checkpoint.shape("conv1.weight").unwrap().to_vec();
            let values = checkpoint.read("conv1.weight", &shape).unwrap();
            integers(&values, &checkpoint.steps("conv1.weight").unwrap().unwrap())
        };
        assert!(weights(&checkpoint).contains(&-128));
        for stored in [StoredDtype::Kept, StoredDtype::Int8] {
            let path = folder.path().join("written.safetensors");
            let target = Target {
                path: &path,
                replace: true,
            };
            let metadata = checkpoint.metadata();
            write(&checkpoint, metadata, stored, &target, &mut |_, _| {
                ControlFlow::Continue(())
            })
            .unwrap();
            let written = Checkpoint::open(&path).unwrap();
            assert_eq!(weights(&written), weights(&checkpoint));
            let isa = SupportedIsa::best();
            assert_eq!(
                logits(&graph, &written, Dtype::Int8, isa),
                logits(&graph, &checkpoint, Dtype::Int8, isa)
            );
        }
    }
}
