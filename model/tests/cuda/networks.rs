//! Networks with random weights, and their expected logits.

use resnet_model::candle::CandleBackend;
use resnet_model::cuda::{CudaPlan, Placement};
use resnet_model::family::Architecture;
use resnet_model::graph::Graph;
use resnet_model::{
    Backend, Device, Dtype, Input, Output, Outputs, Result, ThreadPool, Tuning, build, family,
};
use weights::{Checkpoint, Metadata, Preprocessing, synthetic};

pub(crate) const CLASSES: usize = 37;

/// A network with random weights, and some images.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) checkpoint: Checkpoint,
    /// `[n, 3, S, S]`
    pub(crate) images: Vec<f32>,
}

impl Network {
    pub(crate) fn new(row: &str, size: usize, n: usize) -> Self {
        Self::of(family::find(row).unwrap(), size, n)
    }

    pub(crate) fn of(row: &Architecture, size: usize, n: usize) -> Self {
        let graph = build::build(row, size, CLASSES);
        let parameters = graph.parameters();
        let images = synthetic::tensor("images", &[n, 3 * size * size / 2, 2]);
        Self {
            checkpoint: Checkpoint::synthetic(row.name, Metadata::default(), parameters).unwrap(),
            graph,
            images: images.iter().map(|v| v * 10.0).collect(),
        }
    }

    /// Loads the network on the fake GPUs.
    pub(crate) fn plan(&self, placement: &Placement) -> Result<CudaPlan> {
        CudaPlan::new(
            &self.graph,
            &self.checkpoint,
            &Preprocessing::imagenet(),
            placement,
        )
    }

    /// Logits of the images, computed by the candle backend: `[n, classes]`.
    pub(crate) fn expected(&self) -> Vec<f32> {
        self.reference(Outputs::LOGITS).logits
    }

    /// Outputs for the images, computed by the candle backend.
    pub(crate) fn reference(&self, outputs: Outputs) -> Output {
        let (preprocessing, threads) = (Preprocessing::imagenet(), ThreadPool::new(1).unwrap());
        let (graph, checkpoint) = (&self.graph, &self.checkpoint);
        let candle = CandleBackend::new(graph, checkpoint, &preprocessing, &Device::Cpu, &threads);
        let input = Input::Planes(&self.images);
        candle.unwrap().forward(input, outputs).unwrap()
    }
}

/// The logits of `input`.
pub(crate) fn forward(backend: &dyn Backend, input: Input) -> Result<Vec<f32>> {
    Ok(backend.forward(input, Outputs::LOGITS)?.logits)
}

/// One stream on GPU 0 in f16, for batches up to `largest`.
pub(crate) fn one_stream(largest: usize) -> Placement {
    Placement {
        gpus: vec![0],
        streams: 1,
        largest_batch: largest,
        dtype: Dtype::F16,
        tuning: Tuning::Guess,
    }
}

/// Largest absolute difference, divided by the largest absolute expected value. NaN
/// if a value is NaN.
pub(crate) fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = got.iter().zip(expected);
    let worst = pairs.fold(0f32, |m, (a, b)| {
        if a.is_nan() {
            f32::NAN
        } else {
            m.max((a - b).abs())
        }
    });
    worst / largest
}
