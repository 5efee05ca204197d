//! The ResNet family: its table, a plain candle reference and the fused plan.
//!
//! Pixels in, logits out. The path: [`family`] (a row) -> graph (what it
//! computes) -> plan (how) -> kernels.

pub mod backend;
pub mod build;
mod calibrate;
pub mod candle;
pub mod cost;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod detect;
mod device;
mod dtype;
mod error;
pub mod family;
mod fold;
pub mod fuse;
pub mod graph;
mod histogram;
mod layout;
mod model;
mod options;
mod outputs;
mod packed;
pub mod plan;
mod ranges;
mod select;
mod self_check;
mod source;
mod synthetic;
pub mod table;
mod threads;

pub use backend::{Backend, Input, Usage};
pub use calibrate::Calibration;
pub use cpu::SupportedIsa;
pub use device::Device;
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use model::{Model, ModelInfo, complete_metadata};
pub use options::{Choice, CudaOptions, EngineChoice, Isa, Options, SelfCheck, Tuning};
pub use outputs::{Output, Outputs};
pub use synthetic::{synthetic, synthetic_quantised};
pub use threads::ThreadPool;
