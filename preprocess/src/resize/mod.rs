//! Pillow's antialiased resize, bit-exact, of the pixels inside the crop only.
//!
//! There are two passes, horizontal first (in the upright image). Each sums in
//! fixed point and rounds to 8 bits, as Pillow does. Both passes add whole lines,
//! so that each vector holds neighbouring pixels.

mod band;

use weights::Interpolation;

use crate::crop::CropAxis;
use crate::decode::decoded::DecodedImage;
use crate::filter::{FilterTaps, PRECISION, source_range};
use crate::resize::band::{BAND, Band};
use crate::support::buffer::ScratchBuffer;
use crate::support::simd::{Simd, kernel};
use crate::support::transpose::transpose;

/// Pixels that are summed at a time.
const STEP: usize = 32;

/// The resized pixels inside the crop, in planar layout. Axes are those of the
/// upright image, but flips are not yet applied.
pub(crate) struct ResizedCrop {
    /// Width and height.
    pub size: [usize; 2],
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Samples from one row to the next.
    pub stride: usize,
    /// `[channels, height, stride]`.
    pub samples: ScratchBuffer,
}

/// Resizes the part of `image` inside `crop` (horizontal, vertical, in stored
/// orientation).
pub(crate) fn resize(
    simd: Simd,
    image: &DecodedImage,
    crop: [CropAxis; 2],
    filter: Interpolation,
) -> ResizedCrop {
    let transposed = image.orientation.transposed;
    let source = image.pixels.size();
    // Horizontal and vertical in the upright image.
    let [(x_taps, x_range), (y_taps, y_range)] = image.orientation.swap_axes([0, 1]).map(|axis| {
        let length = f64::from(image.size[axis]) * image.scale;
        let (crop, source) = (crop[axis], source[axis]);
        let taps = FilterTaps::new(crop, length, source, filter);
        (taps, source_range(crop, length, source, filter))
    });
    let channels = image.pixels.color_channels();
    let stride = x_taps.len().next_multiple_of(STEP);
    let rows = y_range.len().next_multiple_of(BAND);
    let mut horizontal = ScratchBuffer::new(channels * rows * stride);
    let mut band = Band::default();
    let mut resized = ScratchBuffer::new(stride * BAND);
    for row in (0..rows).step_by(BAND) {
        let across = y_range.start + row..y_range.end.min(y_range.start + row + BAND);
        band.fill(simd, &image.pixels, x_range.clone(), across, transposed);
        for channel in 0..channels {
            let lines = &band.samples[channel * band.plane..][..band.plane];
            filter_lines(simd, &x_taps, x_range.start, lines, BAND, &mut resized);
            let to = &mut horizontal[(channel * rows + row) * stride..][..BAND * stride];
            transpose_lines(simd, &resized, x_taps.len(), to, stride);
        }
    }
    let plane = y_taps.len() * stride;
    let mut samples = ScratchBuffer::new(channels * plane);
    for (lines, to) in horizontal
        .chunks_exact(rows * stride)
        .zip(samples.chunks_exact_mut(plane))
    {
        filter_lines(simd, &y_taps, y_range.start, lines, stride, to);
    }
    ResizedCrop {
        size: [x_taps.len(), y_taps.len()],
        channels,
        stride,
        samples,
    }
}

kernel! {
    /// Computes one output line for each of `taps` as the weighted sum of source
    /// `lines`, the first of which has the number `first`. Source and output
    /// lines are `stride` samples long, a multiple of `STEP`.
    fn filter_lines = filter_all(
        taps: &FilterTaps,
        first: usize,
        lines: &[u8],
        stride: usize,
        to: &mut [u8],
    )
}

#[inline(always)]
fn filter_all(taps: &FilterTaps, first: usize, lines: &[u8], stride: usize, to: &mut [u8]) {
    for ((start, weights), to) in taps.iter().zip(to.chunks_exact_mut(stride)) {
        let lines = &lines[(start - first) * stride..][..weights.len() * stride];
        match *weights {
            [a] => weighted_sum([a], lines, stride, to),
            [a, b] => weighted_sum([a, b], lines, stride, to),
            [a, b, c] => weighted_sum([a, b, c], lines, stride, to),
            [a, b, c, d] => weighted_sum([a, b, c, d], lines, stride, to),
            _ => {
                for (at, to) in to.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
                    let mut sums = [1 << (PRECISION - 1); STEP];
                    for (line, &weight) in lines.chunks_exact(stride).zip(weights) {
                        add(&mut sums, &line[at * STEP..], weight);
                    }
                    *to = rounded(sums);
                }
            }
        }
    }
}

/// The weighted sum of `N` lines, with the loop over the lines unrolled.
#[inline(always)]
fn weighted_sum<const N: usize>(weights: [i32; N], lines: &[u8], stride: usize, to: &mut [u8]) {
    let lines: [&[u8]; N] = std::array::from_fn(|i| &lines[i * stride..][..stride]);
    for (at, to) in to[..stride]
        .as_chunks_mut::<STEP>()
        .0
        .iter_mut()
        .enumerate()
    {
        let mut sums = [1 << (PRECISION - 1); STEP];
        for i in 0..N {
            add(&mut sums, &lines[i][at * STEP..], weights[i]);
        }
        *to = rounded(sums);
    }
}

#[inline(always)]
fn add(sums: &mut [i32; STEP], line: &[u8], weight: i32) {
    if let Some(pixels) = line.first_chunk::<STEP>() {
        for (sum, &pixel) in sums.iter_mut().zip(pixels) {
            *sum += i32::from(pixel) * weight;
        }
    }
}

#[inline(always)]
fn rounded(sums: [i32; STEP]) -> [u8; STEP] {
    std::array::from_fn(|i| (sums[i] >> PRECISION).clamp(0, 255) as u8)
}

kernel! {
    /// Transposes `lines` lines of `BAND` samples.
    fn transpose_lines = transpose_all(from: &[u8], lines: usize, to: &mut [u8], stride: usize)
}

#[inline(always)]
fn transpose_all(from: &[u8], lines: usize, to: &mut [u8], stride: usize) {
    transpose(from, BAND, [lines, BAND], to, stride);
}
