//! The network on NVIDIA cards: the same fused steps as the processor's plan,
//! over NHWC maps whose channels are padded to a multiple of eight.
//!
//! The path: `libraries` (what is installed) -> `card` (a device that is known to work) -> `network` (what runs,
//! and where its values live) -> `weights` (folded, once a card) -> `lane` (a
//! stream with its own maps: one forward pass at a time) -> `lanes` (on all
//! cards) -> `plan` (what the rest of the program sees). A convolution is a graph
//! of cuDNN's (`dnn`), every other step a kernel of our own (`kernels`); a
//! lane captures a batch's steps once and replays them.

mod card;
mod dnn;
mod elsewhere;
mod fault;
mod kernels;
mod lane;
mod lanes;
mod libraries;
mod map;
mod memory;
mod network;
mod number;
mod plan;
mod program;
mod tune;
mod weights;

pub use card::CardFacts;
pub use elsewhere::{Planned, plan_for};
pub use fault::Fault;
pub use lane::Usage;
pub use number::Number;
pub use plan::{CudaPlan, Placement};
