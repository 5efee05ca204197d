//! Pillow's antialiased resize, of the cropped part only and to the bit: each
//! pass sums in fixed point and rounds to 8 bits, the upright horizontal
//! first. Both passes add whole lines up, so that a vector holds neighbours.

use weights::Interpolation;

use super::Decoded;
use super::bitmap::{BAND, Band};
use super::buffer::Buffer;
use super::crop::Side;
use super::filter::{PRECISION, Taps, reach};
use super::simd::{Level, kernel};
use super::transpose::transpose;

/// Pixels that are summed up at a time.
const STEP: usize = 32;

/// The kept part, as the upright photo lies but for mirroring: `[channels,
/// height, stride]`.
pub(super) struct Kept {
    /// Width and height.
    pub size: [usize; 2],
    /// 1 grey, 3 RGB.
    pub channels: usize,
    /// From one row to the next.
    pub stride: usize,
    /// The samples, as above.
    pub samples: Buffer,
}

/// Resizes `photo` and keeps what the `sides` of the stored photo (across,
/// down) say.
pub(super) fn resize(
    level: Level,
    photo: &Decoded,
    sides: [Side; 2],
    filter: Interpolation,
) -> Kept {
    let turned = photo.orientation.transposed;
    let stored = photo.picture.size();
    // Across and down the upright photo.
    let [x, y] = photo.orientation.swap([0, 1]).map(|axis| {
        let length = f64::from(photo.size[axis]) * photo.scale;
        let (side, stored) = (sides[axis], stored[axis]);
        let taps = Taps::new(side, length, stored, filter);
        (taps, reach(side, length, stored, filter))
    });
    let channels = photo.picture.channels();
    let stride = x.0.len().next_multiple_of(STEP);
    let rows = y.1.len().next_multiple_of(BAND);
    let mut half = Buffer::new(channels * rows * stride);
    let mut band = Band::default();
    let mut mixed = Buffer::new(stride * BAND);
    for from in (0..rows).step_by(BAND) {
        let lines = x.1.clone();
        let across = y.1.start + from..y.1.end.min(y.1.start + from + BAND);
        photo.picture.band(level, lines, across, turned, &mut band);
        for channel in 0..channels {
            let lines = &band.samples[channel * band.plane..][..band.plane];
            mix(level, &x.0, x.1.start, lines, BAND, &mut mixed);
            let to = &mut half[(channel * rows + from) * stride..][..BAND * stride];
            turn(level, &mixed, x.0.len(), to, stride);
        }
    }
    let plane = y.0.len() * stride;
    let mut samples = Buffer::new(channels * plane);
    for (half, to) in half
        .chunks_exact(rows * stride)
        .zip(samples.chunks_exact_mut(plane))
    {
        mix(level, &y.0, y.1.start, half, stride, to);
    }
    Kept {
        size: [x.0.len(), y.0.len()],
        channels,
        stride,
        samples,
    }
}

kernel! {
    /// Makes one line for each of `taps` from `lines`, the first of which is
    /// number `first`. They are `stride` long, a multiple of `STEP`, here and
    /// there.
    fn mix = mix_lines(taps: &Taps, first: usize, lines: &[u8], stride: usize, to: &mut [u8])
}

#[inline(always)]
fn mix_lines(taps: &Taps, first: usize, lines: &[u8], stride: usize, to: &mut [u8]) {
    for ((start, weights), to) in taps.iter().zip(to.chunks_exact_mut(stride)) {
        let lines = &lines[(start - first) * stride..][..weights.len() * stride];
        match *weights {
            [a] => sum_up([a], lines, stride, to),
            [a, b] => sum_up([a, b], lines, stride, to),
            [a, b, c] => sum_up([a, b, c], lines, stride, to),
            [a, b, c, d] => sum_up([a, b, c, d], lines, stride, to),
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

/// `N` lines into one: few enough for the compiler to unroll.
#[inline(always)]
fn sum_up<const N: usize>(weights: [i32; N], lines: &[u8], stride: usize, to: &mut [u8]) {
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
    /// Turns `lines` lines of `BAND` samples over.
    fn turn = turn_lines(from: &[u8], lines: usize, to: &mut [u8], stride: usize)
}

#[inline(always)]
fn turn_lines(from: &[u8], lines: usize, to: &mut [u8], stride: usize) {
    transpose(from, BAND, [lines, BAND], to, stride);
}
