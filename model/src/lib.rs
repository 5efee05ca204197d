//! The ResNet family: a table of architectures, and backends that run them.
//!
//! A [`Model`] is loaded from a checkpoint and turns pixels into logits. The
//! path: [`family`] (a row of the table) -> [`graph`] (what to compute) ->
//! [`fuse`] (fused steps) -> a [`Backend`]: the fused CPU plan, the CUDA
//! executor, or candle.
//!
//! candle provides the tensors, the CUDA device and the plain forward pass in
//! [`candle`](mod@candle). That pass is a backend that can be chosen
//! ([`EngineChoice::Candle`]) and the reference that the fused kernels are tested
//! against.
//!
//! # Example
//!
//! A small network with random weights classifies one grey image:
//!
//! ```
//! use resnet_model::{Model, Options, Outputs, ThreadPool};
//!
//! # fn main() -> resnet_model::Result<()> {
//! let checkpoint = resnet_model::synthetic("cifar_resnet20")?;
//! let pool = ThreadPool::new(1)?;
//! let model = Model::load(&checkpoint, &Options::default(), &pool)?;
//!
//! let side = model.info().input_size;
//! let pixels = vec![128; side * side * 3]; // RGB, [S, S, 3]
//! let output = model.forward(&[&pixels], Outputs::ALL)?;
//! assert_eq!(output.logits.len(), 10);
//! assert_eq!(output.embedding.map(|values| values.len()), Some(64));
//! # Ok(())
//! # }
//! ```

pub mod backend;
pub mod build;
mod calibrate;
pub mod candle;
mod class_map;
pub mod cost;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod decisions;
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
mod name;
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
pub use class_map::ClassWeights;
pub use cpu::SupportedIsa;
pub use decisions::Decisions;
pub use device::Device;
pub use dtype::Dtype;
pub use error::{Error, NoClassMaps, Result};
pub use model::{Model, ModelInfo, complete_metadata};
pub use options::{Choice, CudaOptions, EngineChoice, Isa, Options, SelfCheck, Tuning};
pub use outputs::{Output, Outputs};
pub use synthetic::{synthetic, synthetic_quantized};
pub use threads::ThreadPool;
