//! What runs a network: the processor's plan, or one on CUDA cards. Here the
//! choice is made, and what is missing for another one is told.

use std::time::Duration;

use candle_core::Tensor;
use weights::{Checkpoint, Recipe};

use crate::cores::Cores;
use crate::cost::Cost;
#[cfg(feature = "cuda")]
use crate::cuda::{CudaPlan, Number, Placement};
use crate::error::{Error, Result};
use crate::graph::Graph;
#[cfg(feature = "cuda")]
use crate::options::Dtype;
use crate::options::{DeviceChoice, Options};
use crate::plan::{Done, Input, Numbers, Plan};

/// A network's steps on the device that runs them.
pub enum Engine {
    /// The processor.
    Cpu(Plan),
    /// One or more CUDA cards.
    #[cfg(feature = "cuda")]
    Cuda(CudaPlan),
}

/// What cards were used for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// From the start of a batch's first copy of pixels to the end of its last,
    /// with the waits for the host in between.
    pub upload: Duration,
    /// Time from there to the logits.
    pub compute: Duration,
    /// Bytes in use on all of them now, by anyone.
    pub memory: usize,
}

/// An engine with what its card tells of it.
pub(crate) struct Chosen {
    pub(crate) engine: Engine,
    /// `cpu`, `cuda:0` or `cuda:0,1`.
    pub(crate) device: String,
    /// `f32`, ...
    pub(crate) dtype: String,
    /// Instruction set of the kernels: `avx2`, ..., `sm_90`.
    pub(crate) isa: String,
}

impl Engine {
    /// Prepares `graph` for the device that `options` ask for; on the processor
    /// in `numbers`.
    pub(crate) fn choose(
        graph: &Graph,
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        options: &Options,
        cores: &Cores,
        numbers: impl FnOnce() -> Result<Numbers>,
    ) -> Result<Chosen> {
        match &options.device {
            DeviceChoice::Cpu => {}
            DeviceChoice::Cuda(cards) => {
                return on_cards(graph, checkpoint, recipe, options, cards);
            }
            DeviceChoice::Auto => match why_not_cuda() {
                None => match on_cards(graph, checkpoint, recipe, options, &[0]) {
                    Ok(chosen) => return Ok(chosen),
                    Err(reason) => tracing::warn!(%reason, "device auto: cpu"),
                },
                Some(reason) => tracing::info!(reason, "device auto: cpu"),
            },
        }
        let numbers = numbers()?;
        let plan = Plan::new(graph, checkpoint, recipe, numbers, cores)?;
        Ok(Chosen {
            engine: Self::Cpu(plan),
            device: "cpu".into(),
            dtype: numbers.dtype.to_string(),
            isa: numbers.level.isa().to_string(),
        })
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        match self {
            Self::Cpu(plan) => plan.graph(),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.graph(),
        }
    }

    /// The cost of each step, in the order they run.
    #[must_use]
    pub fn steps(&self) -> Vec<Cost> {
        match self {
            Self::Cpu(plan) => plan.steps(),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.steps(),
        }
    }

    /// Bytes of all weights, as they are packed (on each card).
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Cpu(plan) => plan.weight_bytes(),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.weight_bytes(),
        }
    }

    /// Bytes of the maps of one forward pass of `n` images.
    #[must_use]
    pub fn arena_bytes(&self, n: usize) -> usize {
        match self {
            Self::Cpu(plan) => plan.arena_bytes(n),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.arena_bytes(n),
        }
    }

    /// Forward passes that run at the same time. More callers wait.
    #[must_use]
    pub fn lanes(&self) -> usize {
        match self {
            Self::Cpu(_) => 1,
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.lanes(),
        }
    }

    /// Why no forward pass can run any more, if that is so.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.fault(),
        }
    }

    /// What the cards were used for since this was last asked; `None` on the
    /// processor.
    #[must_use]
    pub fn take_usage(&self) -> Option<Usage> {
        match self {
            Self::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => {
                let used = plan.take_usage();
                Some(Usage {
                    upload: used.upload,
                    compute: used.compute,
                    memory: plan.memory_in_use(),
                })
            }
        }
    }

    /// Logits `[N, classes]`.
    ///
    /// # Errors
    /// An input that is not whole images; a failure of the device.
    pub fn forward(&self, input: Input) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(plan) => plan.forward(input),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.forward(input),
        }
    }

    /// Multiply-adds a second that the device can do in its numbers: of the
    /// processor measured, of cards by their data sheets.
    #[must_use]
    pub fn peak(&self) -> f64 {
        match self {
            Self::Cpu(plan) => plan.peak(),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.peak(),
        }
    }

    /// Logits of planes `[N, 3, S, S]`; tells `observe` each step's index and
    /// duration.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn forward_timed(
        &self,
        planes: &[f32],
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(plan) => plan.forward_observed(Input::Planes(planes), &mut |done: Done| {
                observe(done.step, done.time);
            }),
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => plan.forward_timed(planes, observe),
        }
    }

    /// The whole network as one operation on a candle tensor.
    pub(crate) fn apply(&self, images: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Cpu(plan) => images.apply_op1_no_bwd(plan)?,
            #[cfg(feature = "cuda")]
            Self::Cuda(plan) => images.apply_op1_no_bwd(plan)?,
        })
    }
}

#[cfg(feature = "cuda")]
fn why_not_cuda() -> Option<String> {
    CudaPlan::missing()
}

#[cfg(not(feature = "cuda"))]
fn why_not_cuda() -> Option<String> {
    Some("this build has no CUDA".into())
}

#[cfg(not(feature = "cuda"))]
fn on_cards(
    _: &Graph,
    _: &Checkpoint,
    _: &Recipe,
    options: &Options,
    _: &[usize],
) -> Result<Chosen> {
    Err(Error::Device {
        device: options.device.to_string(),
        reason: "this build has no CUDA path: build it with `--features cuda`, or choose cpu or \
                 auto"
            .into(),
    })
}

#[cfg(feature = "cuda")]
fn on_cards(
    graph: &Graph,
    checkpoint: &Checkpoint,
    recipe: &Recipe,
    options: &Options,
    cards: &[usize],
) -> Result<Chosen> {
    let number = match options.dtype {
        // as accurate as f32 to a ten-thousandth of the largest logit, on every card
        Dtype::Auto | Dtype::F16 => Number::F16,
        Dtype::Bf16 => Number::Bf16,
        Dtype::F32 => Number::F32,
        Dtype::Int8 => {
            return Err(Error::Option {
                option: "dtype int8".into(),
                reason: "cards compute in f16, bf16 or f32".into(),
            });
        }
    };
    let placement = Placement {
        cards: cards.to_vec(),
        lanes: options.cuda.lanes,
        largest: options.cuda.largest_batch,
        number,
        tuning: options.cuda.tuning.clone(),
    };
    let plan = CudaPlan::new(graph, checkpoint, recipe, &placement)?;
    let names: Vec<&str> = plan.cards().iter().map(|c| c.name.as_str()).collect();
    tracing::info!(cards = ?names, lanes = plan.lanes(), "on CUDA");
    let isa = plan.isa();
    Ok(Chosen {
        engine: Engine::Cuda(plan),
        device: DeviceChoice::Cuda(cards.to_vec()).to_string(),
        dtype: number.name().to_owned(),
        isa,
    })
}
