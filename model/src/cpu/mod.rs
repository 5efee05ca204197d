//! The CPU kernels of the fused plan. Each step reads and writes NHWC feature
//! maps in one arena: no allocation and no layout conversion between steps.
//!
//! - `input`: pixels or planes to the stem's padded feature map.
//! - `conv`: direct convolution, with its weights packed by `pack` and its inner
//!   loop in `micro`. `winograd` replaces it if that takes fewer operations,
//!   `amx_conv` if the CPU has AMX tiles.
//! - `epilogue`: bias, residual, ReLU and requantization, in registers.
//! - `pool`: pooling, also inside a convolution's parallel loop (`pool_epilogue`).
//! - `blur`, `elementwise`, `gating`: the steps of the less common blocks.
//! - A linear layer is a 1x1 convolution.
//!
//! Every kernel is written once over the vector type of `simd` and the element
//! type of `element` (f32, bf16 or u8).

mod amx;
mod amx_conv;
mod blur;
mod conv;
mod conv_args;
mod conv_spec;
mod element;
mod elementwise;
mod epilogue;
mod feature_map;
mod gating;
mod group_norm;
mod input;
mod isa;
mod memory;
mod micro;
mod narrow_groups;
mod pack;
mod peak;
mod pool;
mod pool_epilogue;
mod rows;
mod run;
mod simd;
#[cfg(test)]
mod tests;
mod weight_order;
mod winograd;

pub(crate) use blur::blur_pool;
pub(crate) use conv_args::{Output, Residual};
pub(crate) use conv_spec::{Activation, ConvSpec};
pub(crate) use element::{Affine, ConvAffines, Element};
pub(crate) use elementwise::scale_shift;
pub(crate) use feature_map::{FeatureMap, View, ViewMut};
pub(crate) use gating::{channel_conv, excite, highway, zero_pad};
pub(crate) use group_norm::{GroupNorm, group_norm};
pub(crate) use input::{normalize_pixels, pad_planes};
pub use isa::SupportedIsa;
pub(crate) use memory::{AlignedBuffer, HugePages};
pub(crate) use pack::{ConvWeights, PackedConv};
pub(crate) use peak::peak;
pub(crate) use pool::{PoolWindow, Pooling, pool};
pub(crate) use pool_epilogue::PoolEpilogue;
