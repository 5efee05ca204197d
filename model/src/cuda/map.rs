//! Where a batch of feature maps is in a card's memory, and its shape there.

use crate::graph::Shape;

/// Channels as they are stored: padded with zeros to a multiple of eight, which
/// is what tensor cores and loads of 16 bytes ask for.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// A batch of maps `[n, height, width, channels]`, dense, in the lane's number
/// type. Whoever makes one knows that the memory is there, or (at address 0) only
/// asks for sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    /// Address of the first value.
    pub(super) at: u64,
    /// Images.
    pub(super) n: usize,
    /// Rows.
    pub(super) height: usize,
    /// Columns.
    pub(super) width: usize,
    /// Channels of the network.
    pub(super) real: usize,
    /// Channels with their padding.
    pub(super) channels: usize,
}

impl Map {
    pub(super) fn new(at: u64, n: usize, shape: Shape) -> Self {
        Self {
            at,
            n,
            height: shape.height,
            width: shape.width,
            real: shape.channels,
            channels: padded(shape.channels),
        }
    }

    /// Pixels of an image.
    pub(super) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of the batch.
    pub(super) fn len(&self) -> usize {
        self.n * self.pixels() * self.channels
    }

    /// Part `index` of the batch in parts of `n` images, `bytes` a value.
    pub(super) fn part(&self, index: usize, n: usize, bytes: usize) -> Self {
        let skipped = index * n * self.pixels() * self.channels * bytes;
        Self {
            at: self.at + skipped as u64,
            n,
            ..*self
        }
    }
}
