//! Networks with made-up weights, and the logits that they must give.

use candle_core::{Device, Tensor};
use model::cuda::{CudaPlan, Number, Placement};
use model::graph::Graph;
use model::reference::Reference;
use model::{Result, Tuning, build, family};
use weights::{Checkpoint, Facts, Recipe, synthetic};

pub(crate) const CLASSES: usize = 37;

/// A network with its weights and some images.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) checkpoint: Checkpoint,
    /// `[n, 3, S, S]`
    pub(crate) images: Vec<f32>,
    pub(crate) n: usize,
    pub(crate) size: usize,
}

impl Network {
    pub(crate) fn new(row: &str, size: usize, n: usize) -> Self {
        let row = family::find(row).unwrap();
        let graph = build::build(row, size, CLASSES);
        let parameters = graph.parameters();
        let images = synthetic::tensor("images", &[n, 3 * size * size / 2, 2]);
        Self {
            checkpoint: Checkpoint::synthetic(row.name, Facts::default(), parameters).unwrap(),
            graph,
            images: images.iter().map(|v| v * 10.0).collect(),
            n,
            size,
        }
    }

    /// The network on the fake cards.
    pub(crate) fn plan(&self, placement: &Placement) -> Result<CudaPlan> {
        CudaPlan::new(
            &self.graph,
            &self.checkpoint,
            &Recipe::imagenet(),
            placement,
        )
    }

    /// What plain candle operations make of the images, `[n, classes]`.
    pub(crate) fn expected(&self) -> Vec<f32> {
        let shape = (self.n, 3, self.size, self.size);
        let images = Tensor::from_slice(&self.images, shape, &Device::Cpu).unwrap();
        let reference = Reference::new(self.graph.clone(), &self.checkpoint, &Device::Cpu);
        let logits = reference.unwrap().forward(&images).unwrap();
        logits.flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// One lane on card 0 in f16, for batches up to `largest`.
pub(crate) fn one_lane(largest: usize) -> Placement {
    Placement {
        cards: vec![0],
        lanes: 1,
        largest,
        number: Number::F16,
        tuning: Tuning::Guess,
    }
}

/// Largest difference over the largest logit.
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
