//! The GPUs, the streams, the largest batch and the dtype of a network.

use crate::dtype::Dtype;
use crate::options::Tuning;

/// The GPUs, the streams, the largest batch and the dtype of a network.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Device ordinals of the GPUs.
    pub gpus: Vec<usize>,
    /// Streams per GPU: forward passes that run concurrently.
    pub streams: usize,
    /// The largest batch that runs at once.
    pub largest_batch: usize,
    /// The dtype of weights and feature maps: `F16`, `Bf16` or `F32`.
    pub dtype: Dtype,
    /// How cuDNN engines are chosen.
    pub tuning: Tuning,
}
