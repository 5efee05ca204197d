//! Interleaved pixels, and their conversion to planes.

use std::ops::Range;

use crate::support::simd::{Simd, kernel};

/// Decoded pixels with 8 bits per sample, in rows from the top without padding.
pub(crate) struct InterleavedPixels {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub samples: Vec<u8>,
}

impl InterleavedPixels {
    /// Writes the pixels `x` of row `y` to `to` as planes that are `plane`
    /// samples apart. Alpha is dropped.
    pub(crate) fn deinterleave(
        &self,
        simd: Simd,
        y: usize,
        x: Range<usize>,
        to: &mut [u8],
        plane: usize,
    ) {
        let row = &self.samples[y * self.width as usize * self.channels..];
        let row = &row[x.start * self.channels..x.end * self.channels];
        match self.channels {
            1 => to[..row.len()].copy_from_slice(row),
            2 => split_channels(simd, row, 2, &mut [to]),
            channels => {
                let (red, rest) = to.split_at_mut(plane);
                let (green, blue) = rest.split_at_mut(plane);
                split_channels(simd, row, channels, &mut [red, green, blue]);
            }
        }
    }
}

kernel! {
    /// Copies the first channels of a row of pixels to one slice each.
    fn split_channels = split_row(row: &[u8], channels: usize, to: &mut [&mut [u8]])
}

#[inline(always)]
fn split_row(row: &[u8], channels: usize, to: &mut [&mut [u8]]) {
    match (channels, to) {
        (3, [red, green, blue]) => {
            let pixels = row.as_chunks::<3>().0;
            for (((pixel, red), green), blue) in pixels
                .iter()
                .zip(&mut **red)
                .zip(&mut **green)
                .zip(&mut **blue)
            {
                (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
            }
        }
        (_, to) => {
            for (channel, to) in to.iter_mut().enumerate() {
                for (to, pixel) in to.iter_mut().zip(row.chunks_exact(channels)) {
                    *to = pixel[channel];
                }
            }
        }
    }
}
