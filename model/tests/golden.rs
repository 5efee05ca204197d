//! Compares the logits of the candle backend and of the fused CPU plan with those
//! of the original frameworks, which computed them in float64. There are 43
//! networks, with pseudo-random weights.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use resnet_model::candle::CandleBackend;
use resnet_model::graph::Graph;
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{
    Backend, Device, Input, Outputs, Result, SupportedIsa, ThreadPool, build, family,
};
use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

/// Name of each golden, and the architecture that computes it.
const GOLDENS: &[(&str, &str)] = &[
    ("torchvision.resnet18", "resnet18"),
    ("torchvision.resnet34", "resnet34"),
    ("torchvision.resnet50", "resnet50"),
    ("torchvision.resnet101", "resnet101"),
    ("torchvision.resnet152", "resnet152"),
    ("torchvision.wide_resnet50_2", "wide_resnet50_2"),
    ("torchvision.wide_resnet101_2", "wide_resnet101_2"),
    ("torchvision.resnext50_32x4d", "resnext50_32x4d"),
    ("torchvision.resnext101_32x8d", "resnext101_32x8d"),
    ("timm.resnet18", "resnet18"),
    ("timm.resnet50", "resnet50"),
    ("timm.resnet200", "resnet200"),
    ("timm.resnet26d", "resnet26d"),
    ("timm.resnet50d", "resnet50d"),
    ("timm.resnet101d", "resnet101d"),
    ("timm.seresnet50", "seresnet50"),
    ("timm.ecaresnet50d", "ecaresnet50d"),
    ("timm.resnetv2_18", "resnetv2_18"),
    ("timm.resnetv2_50", "resnetv2_50"),
    ("timm.resnetv2_101", "resnetv2_101"),
    ("timm.resnetv2_50d", "resnetv2_50d"),
    ("timm.resnetv2_50x1_bit", "resnetv2_50x1_bit"),
    ("hf.resnet-18", "resnet18"),
    ("hf.resnet-50", "resnet50"),
    ("hf.resnet-50-v1", "resnet50_v1"),
    ("lecture.resnet18-2x2", "resnet18_2x2"),
    ("lecture.plain18", "plain18"),
    ("lecture.plain34", "plain34"),
    ("lecture.highway18", "highway18"),
    ("lecture.resnet200-preact", "resnetv2_200"),
    ("cifar.resnet20", "cifar_resnet20"),
    ("cifar.resnet32", "cifar_resnet32"),
    ("cifar.resnet44", "cifar_resnet44"),
    ("cifar.resnet56", "cifar_resnet56"),
    ("cifar.resnet110", "cifar_resnet110"),
    ("cifar.plain20", "cifar_plain20"),
    ("cifar.plain56", "cifar_plain56"),
    ("cifar.highway20", "cifar_highway20"),
    ("cifar.preact110", "cifar_preact110"),
    ("cifar.preact164", "cifar_preact164"),
    ("cifar.preact1001", "cifar_preact1001"),
    ("cifar.wrn-16-4", "wrn_16_4"),
    ("cifar.wrn-28-10", "wrn_28_10"),
];

/// The checkpoint, the input and the expected logits of a network.
struct Golden {
    checkpoint: Checkpoint,
    /// `[N, 3, S, S]`
    input: Vec<f32>,
    shape: [usize; 4],
    /// `[N, classes]`
    logits: Vec<f32>,
}

/// The folder of the goldens. Prints a line if it does not exist.
fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("SHARED_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let folder = shared.join("golden/logits");
    if !folder.is_dir() {
        println!("skipped: no ../shared");
        return None;
    }
    Some(folder)
}

fn load_golden(folder: &Path, name: &str) -> Golden {
    #[derive(serde::Deserialize)]
    struct Description {
        input: [usize; 4],
        tensors: BTreeMap<String, Vec<usize>>,
    }
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let description: Description = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap().data().chunks_exact(4);
    Golden {
        checkpoint: Checkpoint::synthetic(name, Metadata::default(), description.tensors).unwrap(),
        input: synthetic::tensor("input", &description.input),
        shape: description.input,
        logits: logits
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
    }
}

/// Largest absolute difference, divided by the largest absolute expected logit.
fn error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    got.iter()
        .zip(expected)
        .fold(0f32, |m, (a, b)| m.max((a - b).abs()))
        / largest
}

/// The logits of a forward pass, and those that the classifier computes from its
/// embeddings: the frameworks' goldens have no embeddings.
fn logits(backend: &dyn Backend, planes: &[f32], classes: usize) -> Result<[Vec<f32>; 2]> {
    let outputs = Outputs {
        embedding: true,
        ..Outputs::LOGITS
    };
    let output = backend.forward(Input::Planes(planes), outputs)?;
    let embeddings = output.embedding.unwrap_or_default();
    let images = output.logits.len() / classes;
    let mut pooled = vec![0.0; output.logits.len()];
    for class in 0..classes {
        let weights = backend.class_weights(class)?;
        let each = embeddings.chunks_exact(embeddings.len() / images);
        for (image, embedding) in each.enumerate() {
            // a feature map of one pixel
            let product = weights.map(embedding)[0];
            pooled[image * classes + class] = product + weights.bias;
        }
    }
    Ok([output.logits, pooled])
}

/// Compares the logits of the backend that `load` creates with every golden, or
/// with those whose name contains the value of `GOLDEN`.
fn check(load: impl Fn(&Graph, &Checkpoint) -> Result<Box<dyn Backend>>) {
    let Some(folder) = folder() else { return };
    let only = std::env::var("GOLDEN").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, row) in GOLDENS.iter().filter(|(name, _)| name.contains(&only)) {
        let golden = load_golden(&folder, name);
        let classes = golden.logits.len() / golden.shape[0];
        let graph = build::build(family::find(row).unwrap(), golden.shape[2], classes);
        let outputs = load(&graph, &golden.checkpoint)
            .and_then(|backend| logits(backend.as_ref(), &golden.input, classes));
        match outputs.map(|outputs| outputs.map(|logits| error(&logits, &golden.logits))) {
            Ok([direct, pooled]) if direct.max(pooled) <= 2e-4 => {
                println!("{name}: {direct:.1e}, from the embedding {pooled:.1e}");
            }
            other => failed.push(format!("{name}: {other:?}")),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_candle_backend_matches_the_frameworks() {
    let threads = ThreadPool::new(2).unwrap();
    let preprocessing = Preprocessing::imagenet();
    check(|graph, checkpoint| {
        let candle = CandleBackend::new(graph, checkpoint, &preprocessing, &Device::Cpu, &threads)?;
        Ok(Box::new(candle))
    });
}

#[test]
fn the_cpu_plan_matches_the_frameworks() {
    let threads = ThreadPool::new(2).unwrap();
    let preprocessing = Preprocessing::imagenet();
    check(|graph, checkpoint| {
        let config = CpuConfig::f32(SupportedIsa::best());
        let plan = CpuPlan::new(graph, checkpoint, &preprocessing, config, &threads)?;
        Ok(Box::new(plan))
    });
}
