//! The CUDA backend: runs the same fused steps as the CPU plan on NVIDIA GPUs.
//! Feature maps are NHWC, with channels padded to a multiple of eight.
//!
//! | file | contents |
//! |---|---|
//! | `libraries` | checks that the driver, cuDNN, cuBLAS and cuRAND are installed and recent enough |
//! | `gpu` | opens a GPU and checks its compute capability |
//! | `network` | the steps to run, and the arena slot of every value |
//! | `weights` | the folded weights, uploaded once per GPU |
//! | `dnn` | convolutions as cuDNN operation graphs |
//! | `kernels` | launches of the project's own kernels, for every other step |
//! | `tune` | the choice of a cuDNN engine for each convolution |
//! | `lane` | a lane: one CUDA stream with its buffers; it runs one forward pass at a time by replaying a captured graph |
//! | `lanes` | all lanes of a network, on all its GPUs |
//! | `program` | the steps for one batch size as a list of launches |
//! | `memory`, `tensor`, `dtype` | buffers, feature maps in device memory, and the encoding of their values |
//! | `placement` | on which GPUs and in which dtype a network runs |
//! | `plan` | the public interface |
//! | `offline` | cuDNN plans for GPUs that are not in this machine |

mod dnn;
mod dtype;
mod error;
mod gpu;
mod kernels;
mod lane;
mod lanes;
mod libraries;
mod memory;
mod network;
mod offline;
mod placement;
mod plan;
mod program;
mod tensor;
mod tune;
mod weights;

pub use error::CudaError;
pub use gpu::GpuProperties;
pub use offline::{PlannedConvolution, plan_for};
pub use placement::Placement;
pub use plan::CudaPlan;
