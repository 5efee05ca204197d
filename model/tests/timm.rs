//! Compares the logits of small networks with those of timm, which computed them in
//! float64: `parity/golden.py`. `make parity` compares whole networks.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use resnet_model::candle::CandleBackend;
use resnet_model::family::{self, Architecture};
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{Backend, Device, Input, Outputs, SupportedIsa, ThreadPool, build};
use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

#[derive(serde::Deserialize)]
struct Golden {
    row: String,
    stem_planes: usize,
    layers: Vec<usize>,
    planes: Vec<usize>,
    tensors: BTreeMap<String, Vec<usize>>,
    logits: Vec<f32>,
}

/// Height and width of the input.
const SIDE: usize = 64;

/// The largest difference of a logit, relative to the largest logit.
fn error(backend: &dyn Backend, expected: &[f32]) -> f32 {
    let input = synthetic::tensor("input", &[1, 3, SIDE, SIDE]);
    let output = backend
        .forward(Input::Planes(&input), Outputs::LOGITS)
        .unwrap();
    assert_eq!(output.logits.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = output.logits.iter().zip(expected);
    pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn both_cpu_backends_match_timm() {
    let threads = ThreadPool::new(2).unwrap();
    let preprocessing = Preprocessing::imagenet();
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("parity/golden.json")).unwrap();
    assert!(goldens.len() > 10);
    for golden in goldens {
        let row = Architecture {
            stem_planes: golden.stem_planes,
            layers: golden.layers.leak(),
            planes: golden.planes.leak(),
            ..*family::find(&golden.row).unwrap()
        };
        let graph = build::build(&row, SIDE, golden.logits.len());
        let checkpoint =
            Checkpoint::synthetic(&golden.row, Metadata::default(), golden.tensors).unwrap();
        let (names, parameters) = (checkpoint.tensors().count(), graph.parameters().len());
        assert_eq!(names, parameters, "{}", golden.row);
        let candle =
            CandleBackend::new(&graph, &checkpoint, &preprocessing, &Device::Cpu, &threads);
        let config = CpuConfig::f32(SupportedIsa::best());
        let plan = CpuPlan::new(&graph, &checkpoint, &preprocessing, config, &threads);
        let errors = [
            error(&candle.unwrap(), &golden.logits),
            error(&plan.unwrap(), &golden.logits),
        ];
        println!("{}: {errors:?}", golden.row);
        assert!(
            errors.iter().all(|error| *error < 2e-4),
            "{}: {errors:?}",
            golden.row
        );
    }
}
