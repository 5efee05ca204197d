//! A feature map in device memory: its address and its padded NHWC shape.

use crate::graph::Shape;

/// Number of channels as stored: zero-padded to a multiple of eight, as tensor
/// cores and 16-byte loads require.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// A contiguous batch of feature maps `[n, height, width, channels]` in the
/// network's dtype. The creator guarantees that the memory at `at` is allocated
/// for as long as the tensor is used; address 0 is for computing sizes only.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceTensor {
    /// Device address of the first value.
    pub(super) at: u64,
    /// Images in the batch.
    pub(super) n: usize,
    /// Height of a feature map.
    pub(super) height: usize,
    /// Width of a feature map.
    pub(super) width: usize,
    /// Channels without padding.
    pub(super) real_channels: usize,
    /// Channels with padding.
    pub(super) channels: usize,
}

impl DeviceTensor {
    pub(super) fn new(at: u64, n: usize, shape: Shape) -> Self {
        Self {
            at,
            n,
            height: shape.height,
            width: shape.width,
            real_channels: shape.channels,
            channels: padded(shape.channels),
        }
    }

    /// Pixels of one image.
    pub(super) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values in the batch, padding included.
    pub(super) fn len(&self) -> usize {
        self.n * self.pixels() * self.channels
    }

    /// Part `index` of the batch, split into parts of `n` images; `bytes` is
    /// the size of a value.
    pub(super) fn part(&self, index: usize, n: usize, bytes: usize) -> Self {
        let offset = index * n * self.pixels() * self.channels * bytes;
        Self {
            at: self.at + offset as u64,
            n,
            ..*self
        }
    }
}
