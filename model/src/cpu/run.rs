//! The input words that a window of a convolution reads.

/// A run of consecutive input words of a window: `len` words that start `row`
/// rows below and `start` words right of the window's top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}
