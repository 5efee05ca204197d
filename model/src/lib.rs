//! The ResNet family: its table, a plain candle reference and the fused plan.
//!
//! Pixels in, logits out. The path: [`family`] (a row) -> graph (what it
//! computes) -> plan (how) -> kernels.

mod cores;
pub mod cpu;
mod error;
mod options;
mod runner;

pub use cores::Cores;
pub use error::{Error, Result};
pub use options::{DeviceChoice, Dtype, Isa, Options};
pub use runner::{Card, Model};
