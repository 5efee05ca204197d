//! Bands of a decoded image in planar layout. The first resize pass reads the
//! image in bands, so that its working set stays in the cache.

use std::ops::Range;

use crate::decode::decoded::DecodedPixels;
use crate::decode::jpeg::planes::{STEP, fill_columns};
use crate::decode::vp8::planes::fill_row;
use crate::support::buffer::ScratchBuffer;
use crate::support::simd::{Simd, kernel};
use crate::support::transpose::{TILE_LENGTH, transpose};

/// Pixels across a band. The JPEG planes produce as many rows per step.
pub(crate) const BAND: usize = STEP;

/// A part of a decoded image: `[channels, lines, BAND]`. A line is a column of
/// the upright image, which the first pass resizes horizontally by adding whole
/// lines.
#[derive(Default)]
pub(crate) struct Band {
    /// `[channels, lines, BAND]`.
    pub samples: ScratchBuffer,
    /// Samples per channel: the lines, rounded up to whole tiles, times `BAND`.
    pub plane: usize,
    /// The samples before they are transposed.
    untransposed: ScratchBuffer,
}

impl Band {
    /// Reads a part of `pixels`. Lines are stored columns, or stored rows if
    /// `by_rows`. Of each of the `lines`, the samples at the positions `across`
    /// are read, at most `BAND`; the rest of the band is arbitrary.
    pub(crate) fn fill(
        &mut self,
        simd: Simd,
        pixels: &DecodedPixels,
        lines: Range<usize>,
        across: Range<usize>,
        by_rows: bool,
    ) {
        let channels = pixels.color_channels();
        let count = lines.len().next_multiple_of(TILE_LENGTH);
        self.plane = count * BAND;
        self.samples.set_length(channels * self.plane);
        match (pixels, by_rows) {
            (DecodedPixels::Interleaved(pixels), true) => {
                for (i, y) in lines.enumerate() {
                    let to = &mut self.samples[i * BAND..];
                    pixels.deinterleave(simd, y, across.clone(), to, self.plane);
                }
            }
            (DecodedPixels::Interleaved(pixels), false) => {
                self.untransposed.set_length(channels * self.plane);
                for (i, y) in across.enumerate() {
                    let to = &mut self.untransposed[i * count..];
                    pixels.deinterleave(simd, y, lines.clone(), to, self.plane);
                }
                transpose_band(simd, self, count, [self.plane, count]);
            }
            (DecodedPixels::YuvPlanes(planes), true) => {
                for (i, y) in lines.enumerate() {
                    let to = &mut self.samples[i * BAND..];
                    fill_row(simd, planes, y, across.clone(), to, self.plane);
                }
            }
            (DecodedPixels::YuvPlanes(planes), false) => {
                self.untransposed.set_length(channels * self.plane);
                for (i, y) in across.enumerate() {
                    let to = &mut self.untransposed[i * count..];
                    fill_row(simd, planes, y, lines.clone(), to, self.plane);
                }
                transpose_band(simd, self, count, [self.plane, count]);
            }
            (DecodedPixels::JpegPlanes(planes), true) => {
                let stride = count.next_multiple_of(BAND);
                let plane = stride * BAND;
                self.untransposed.set_length(channels * plane);
                let to = &mut self.untransposed;
                fill_columns(simd, planes, across, lines, to, [plane, stride]);
                transpose_band(simd, self, count, [plane, stride]);
            }
            (DecodedPixels::JpegPlanes(planes), false) => {
                let strides = [self.plane, BAND];
                fill_columns(simd, planes, lines, across, &mut self.samples, strides);
            }
        }
    }
}

kernel! {
    /// Transposes every channel of a band: `BAND` lines of `length` samples.
    /// `strides` are the distances between channels and between lines.
    fn transpose_band = transpose_channels(band: &mut Band, length: usize, strides: [usize; 2])
}

#[inline(always)]
fn transpose_channels(band: &mut Band, length: usize, [plane, stride]: [usize; 2]) {
    let to = band.samples.chunks_exact_mut(band.plane);
    for (from, to) in band.untransposed.chunks_exact(plane).zip(to) {
        transpose(from, stride, [BAND, length], to, BAND);
    }
}
