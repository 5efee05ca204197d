//! Networks with random weights, and comparisons of their outputs.

use crate::small::small;
use resnet_model::candle::CandleBackend;
use resnet_model::family::{self, Architecture, Norm};
use resnet_model::graph::Graph;
use resnet_model::plan::{CpuConfig, CpuPlan};
use resnet_model::{
    Backend, Calibration, Device, Dtype, Input, Output, Outputs, ThreadPool, build,
};
use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

/// Architectures that together use every kind of block, and small input sizes.
const ROWS: &[(&str, usize)] = &[
    ("resnet18", 64),
    ("resnet50", 64),
    ("resnet50_thin", 96),
    ("resnet18_2x2", 64),
    ("resnext50_32x4d", 32),
    ("wide_resnet50_2", 32),
    ("resnet26d", 64),
    ("seresnet50", 32),
    ("ecaresnet50d", 64),
    ("resnetv2_50", 64),
    ("resnetv2_50d", 32),
    ("resnetv2_50x1_bit", 64),
    ("highway18", 64),
    ("plain18", 32),
    ("cifar_resnet20", 32),
    ("cifar_preact164", 32),
    ("wrn_16_4", 32),
    ("resnet50_gn", 64),
    ("resnetrs50", 32),
    ("resnetaa50d", 64),
    ("resnetblur50", 64),
    ("legacy_seresnet18", 64),
];

/// More of them. The small versions suffice for f32 and bf16; a checkpoint can be
/// quantized only if it has the tensors of its row.
const SMALL_ROWS: &[(&str, usize)] = &[("resnet50t", 64), ("senet154", 64), ("cifar_resnet18", 32)];

pub(crate) const CLASSES: usize = 37;

/// Architectures that together use every kind of operation, and input sizes.
pub(crate) fn rows() -> impl Iterator<Item = (&'static Architecture, usize)> {
    let rows = ROWS.iter();
    rows.map(|&(name, size)| (family::find(name).unwrap(), size))
}

/// [`rows`], and small versions of more of them.
pub(crate) fn all_rows() -> impl Iterator<Item = (&'static Architecture, usize)> {
    let small_rows = SMALL_ROWS.iter();
    rows().chain(small_rows.map(|&(name, size)| (small(family::find(name).unwrap()), size)))
}

/// A network with random weights.
pub(crate) struct Network {
    pub(crate) row: &'static Architecture,
    pub(crate) graph: Graph,
    pub(crate) checkpoint: Checkpoint,
}

impl Network {
    pub(crate) fn new(name: &str, size: usize) -> Self {
        Self::of(family::find(name).unwrap(), size)
    }

    pub(crate) fn of(row: &'static Architecture, size: usize) -> Self {
        let graph = build::build(row, size, CLASSES);
        let metadata = Metadata {
            architecture: Some(row.name.to_owned()),
            preprocessing: Some(Preprocessing {
                crop: size as u32,
                ..Preprocessing::imagenet()
            }),
            ..Metadata::default()
        };
        let checkpoint = Checkpoint::synthetic(row.name, metadata, graph.parameters()).unwrap();
        Self {
            row,
            graph,
            checkpoint,
        }
    }

    /// The network with ranges calibrated on `images`, so that it can run in int8.
    pub(crate) fn quantized(mut self, images: &[f32], threads: &ThreadPool) -> Self {
        let mut calibration = Calibration::new(&self.checkpoint, threads).unwrap();
        calibration.add(Input::Planes(images)).unwrap();
        let metadata = Metadata {
            ranges: Some(calibration.ranges()),
            ..self.checkpoint.metadata().clone()
        };
        let corrections = calibration.corrections(&self.checkpoint).unwrap();
        let corrected = self.checkpoint.with_values(corrections).unwrap();
        self.checkpoint = corrected.with_metadata(metadata);
        self
    }

    pub(crate) fn plan(&self, config: CpuConfig, threads: &ThreadPool) -> CpuPlan {
        let preprocessing = Preprocessing::imagenet();
        CpuPlan::new(
            &self.graph,
            &self.checkpoint,
            &preprocessing,
            config,
            threads,
        )
        .unwrap()
    }

    pub(crate) fn candle(&self, threads: &ThreadPool) -> CandleBackend {
        let preprocessing = Preprocessing::imagenet();
        CandleBackend::new(
            &self.graph,
            &self.checkpoint,
            &preprocessing,
            &Device::Cpu,
            threads,
        )
        .unwrap()
    }

    /// All outputs of the candle backend.
    pub(crate) fn reference(&self, images: &[f32], threads: &ThreadPool) -> Output {
        let input = Input::Planes(images);
        self.candle(threads).forward(input, Outputs::ALL).unwrap()
    }

    /// The largest error that rounding may cause.
    pub(crate) fn tolerance(&self, dtype: Dtype) -> f32 {
        // a group norm over a few pixels amplifies rounding errors
        let has_group_norms = self.row.norm == Norm::Group;
        match dtype {
            Dtype::F32 => 1e-4,
            Dtype::Int8 if has_group_norms => 0.5,
            Dtype::Int8 => 0.05,
            _ if has_group_norms => 2e-1,
            _ => 2e-2,
        }
    }
}

/// Images `[n, 3, size, size]` that differ from each other.
pub(crate) fn images(n: usize, size: usize) -> Vec<f32> {
    synthetic::tensor("images", &[n, 3 * size * size / 2, 2])
        .iter()
        .map(|v| v * 10.0)
        .collect()
}

/// Largest absolute difference, divided by the largest absolute value of `b`.
pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// The [`largest_difference`] of the logits, embeddings and feature maps.
pub(crate) fn differences(got: &Output, expected: &Output) -> [f32; 3] {
    let vectors = |output: &Output| {
        [
            output.logits.clone(),
            output.embedding.clone().unwrap(),
            output.feature_map.clone().unwrap(),
        ]
    };
    let (got, expected) = (vectors(got), vectors(expected));
    std::array::from_fn(|i| largest_difference(&got[i], &expected[i]))
}
