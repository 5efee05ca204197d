//! Helpers that every stage uses: reused buffers, instruction sets, transposition.

pub(crate) mod buffer;
pub(crate) mod simd;
pub(crate) mod transpose;
