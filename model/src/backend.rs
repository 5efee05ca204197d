//! The interface of everything that runs a network: the fused CPU plan, the
//! CUDA executor and candle. Code outside a backend does not ask which one it
//! has.

use std::time::Duration;

use crate::class_map::ClassWeights;
use crate::cost::Cost;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::options::EngineChoice;
use crate::outputs::{Output, Outputs};

/// The images of a forward pass.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// RGB bytes, `[S, S, 3]` for each image. The backend normalises them.
    Pixels(&'a [&'a [u8]]),
    /// Normalised planes `[N, 3, S, S]`.
    Planes(&'a [f32]),
}

impl Input<'_> {
    /// The number of images, which are squares of side `size`.
    ///
    /// # Errors
    /// [`Error::Batch`] when the input is not whole images.
    pub(crate) fn images(&self, size: usize) -> Result<usize> {
        let values = 3 * size * size;
        let wrong = |len: usize| {
            Error::Batch(format!(
                "{len} values do not make images of {size}x{size}x3 = {values}"
            ))
        };
        match self {
            Self::Pixels(images) => match images.iter().find(|image| image.len() != values) {
                Some(image) => Err(wrong(image.len())),
                None => Ok(images.len()),
            },
            Self::Planes(planes) if planes.len().is_multiple_of(values) => {
                Ok(planes.len() / values)
            }
            Self::Planes(planes) => Err(wrong(planes.len())),
        }
    }
}

/// What a backend runs on and computes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// Who computes: the fused kernels or candle's.
    pub engine: EngineChoice,
    /// Where.
    pub device: Device,
    /// The data type of weights and feature maps.
    pub dtype: Dtype,
    /// Instruction set of the kernels: `avx2`, ..., on GPUs their compute
    /// capability: `sm_90`; `sm_80,sm_90` on unequal ones. `candle` where
    /// candle chooses.
    pub isa: String,
}

/// How long GPUs were used, and how much of their memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// From the start of a batch's first copy of pixels to the end of its last,
    /// including the time in between in which the host prepares the next copy.
    pub upload: Duration,
    /// Time from there to the logits.
    pub compute: Duration,
    /// Bytes in use on all GPUs now, by any process.
    pub memory: usize,
}

/// Called after each step of a forward pass with the step's index in
/// [`Backend::steps`] and its duration.
pub type StepObserver<'a> = &'a mut (dyn FnMut(usize, Duration) + Send);

/// A network ready to run on a device. `forward` takes `&self`: callers on
/// several threads share one backend.
pub trait Backend: Send + Sync {
    /// What the backend runs on and computes in.
    fn info(&self) -> BackendInfo;

    /// The network it computes.
    fn graph(&self) -> &Graph;

    /// Runs a batch.
    ///
    /// # Errors
    /// An input that is not whole images, an output that the network does not
    /// have, a failure of the device.
    fn forward(&self, input: Input, outputs: Outputs) -> Result<Output>;

    /// Runs planes `[N, 3, S, S]` and reports each step to `observe`. A step
    /// that runs several times in a pass is reported each time. Slower than
    /// `forward`, as a device is waited for after each step.
    ///
    /// # Errors
    /// As [`Backend::forward`].
    fn forward_timed(&self, planes: &[f32], observe: StepObserver) -> Result<Output>;

    /// The classifier's weights and bias of a class, read back from the memory
    /// that the kernels use: no second copy is kept.
    ///
    /// # Errors
    /// A class that does not exist, a network without a linear classifier, a
    /// failure of the device.
    fn class_weights(&self, class: usize) -> Result<ClassWeights>;

    /// The cost of each step, in the order they run.
    fn steps(&self) -> Vec<Cost>;

    /// Bytes of all weights as the kernels read them (on each GPU).
    fn weight_bytes(&self) -> usize;

    /// Bytes of the feature maps and workspaces of one forward pass of `n`
    /// images.
    fn arena_bytes(&self, n: usize) -> usize;

    /// Multiply-adds per second that the device can do in this data type: of
    /// the CPU by a measurement of some milliseconds, of GPUs by their data
    /// sheets. `None` where the backend has no figure.
    fn peak(&self) -> Option<f64>;

    /// Forward passes that run at the same time; further callers wait.
    fn streams(&self) -> usize {
        1
    }

    /// The reason why no forward pass can run any more, once that is so.
    fn failure(&self) -> Option<String> {
        None
    }

    /// How GPUs were used since the last call; `None` without GPUs.
    fn take_usage(&self) -> Option<Usage> {
        None
    }

    /// Whether these kernels have never been tested on the hardware they are
    /// for, so that the model has to check them when it is loaded.
    fn is_untested(&self) -> bool {
        false
    }

    /// Batch sizes that run kernels chosen for that size: a check of the
    /// backend has to cover each.
    fn batch_sizes(&self) -> Vec<usize> {
        vec![1]
    }
}
