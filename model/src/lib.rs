//! The ResNet family: its table, a plain candle reference and the fused plan.
//!
//! Pixels in, logits out. The path: [`family`] (a row) -> graph (what it
//! computes) -> plan (how) -> kernels.

pub mod build;
mod calibrate;
mod cores;
pub mod cost;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod engine;
mod error;
pub mod family;
mod fit;
mod fold;
pub mod fuse;
pub mod graph;
mod histogram;
mod layout;
mod op;
mod options;
mod packed;
pub mod plan;
mod ranges;
pub mod reference;
mod runner;
mod synthetic;
pub mod table;

pub use calibrate::Calibration;
pub use cores::Cores;
pub use cpu::Level;
pub use engine::{Engine, Usage};
pub use error::{Error, Result};
pub use options::{CudaOptions, DeviceChoice, Dtype, Isa, Options, Tuning};
pub use runner::{Card, Model, complete_facts};
pub use synthetic::{synthetic, synthetic_quantised};
