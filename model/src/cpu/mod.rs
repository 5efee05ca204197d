//! The kernels of the fused plan: each step reads and writes feature maps of
//! one arena, in place, with no allocation and no layout change between.
//!
//! The path: `input` (pixels to the stem's map) -> `conv` (packed by
//! `pack`, multiplied by `micro`, by `winograd` where that is less work,
//! or on `tiles` where the processor has them) -> `pool`, in the convolution's
//! own loop by `follow` -> linear, which is a 1x1 convolution. `simd` is the
//! vector they are all written over, `element` the numbers a map holds.

mod amx;
mod conv;
mod element;
mod elementwise;
mod floats;
mod follow;
mod gates;
mod input;
mod level;
mod map;
mod micro;
mod operands;
mod order;
mod pack;
mod peak;
mod pool;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod winograd;

pub(crate) use element::{Affine, Element, Meanings};
pub(crate) use elementwise::scale_shift;
pub(crate) use floats::{Floats, Slab};
pub(crate) use follow::Follower;
pub(crate) use gates::{channel_conv, excite, group_norm, highway, zero_pad};
pub(crate) use input::{normalize_pixels, pad_planes};
pub use level::Level;
pub(crate) use map::{Map, View, ViewMut};
pub(crate) use operands::{Output, Residual};
pub(crate) use pack::{Activation, ConvSpec, PackedConv};
pub(crate) use peak::peak;
pub(crate) use pool::{Pooling, Window, pool};
