//! The f32 kernels of the fused plan: each step reads and writes feature maps
//! of one arena, in place, with no allocation and no layout change between.
//!
//! The path: `input` (pixels to the stem's map) -> `conv` (packed by
//! `pack`, multiplied by `micro`, or by `winograd` where that is less
//! work) -> `pool` -> linear, which is a 1x1 convolution. `simd` is the
//! vector they are all written over.

mod conv;
mod elementwise;
mod floats;
mod gates;
mod input;
mod map;
mod micro;
mod pack;
mod pool;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
mod transform;
mod winograd;

pub use conv::Residual;
pub use elementwise::scale_shift;
pub use floats::Floats;
pub use gates::{channel_conv, excite, group_norm, highway, zero_pad};
pub use input::{normalize_pixels, pad_planes};
pub use map::{Map, View, ViewMut};
pub use pack::{Activation, ConvSpec, PackedConv};
pub use pool::{Padding, Window, average_pool, global_average_pool, max_pool};
pub use simd::Level;
