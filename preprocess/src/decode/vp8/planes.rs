//! The planes of a frame, and their conversion to RGB. Both upsampling and colours are
//! bit-exact with libwebp ("fancy upsampling").

use std::array::from_fn;
use std::ops::Range;

use crate::decode::interleaved::InterleavedPixels;
use crate::support::buffer::ScratchBuffer;
use crate::support::simd::{Simd, kernel};

/// Pixels that are converted at a time.
const STEP: usize = 64;

/// Decoded samples before upsampling and colour conversion.
pub(crate) struct YuvPlanes {
    /// Width and height of the image.
    pub(super) size: [usize; 2],
    /// Columns and rows of macroblocks.
    pub(super) macroblocks: [usize; 2],
    /// Samples of a row of luma; a row of chroma has half of them.
    pub(super) luma_stride: usize,
    pub(super) luma: ScratchBuffer,
    /// Both planes, one after the other.
    pub(super) chroma: ScratchBuffer,
}

impl YuvPlanes {
    pub(super) fn new(size: [u32; 2]) -> Self {
        let size = size.map(|pixels| pixels as usize);
        let macroblocks = size.map(|pixels| pixels.div_ceil(16));
        let count = macroblocks[0] * macroblocks[1];
        Self {
            size,
            macroblocks,
            luma_stride: 16 * macroblocks[0],
            luma: ScratchBuffer::new(256 * count),
            chroma: ScratchBuffer::new(128 * count),
        }
    }

    /// Width and height of the image.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The whole image as RGB.
    pub(crate) fn interleaved(&self, simd: Simd) -> InterleavedPixels {
        let [width, height] = self.size;
        let mut samples = vec![0; 3 * width * height];
        let mut row = vec![0; 3 * width];
        for (y, to) in samples.chunks_exact_mut(3 * width).enumerate() {
            fill_row(simd, self, y, 0..width, &mut row, width);
            for (x, to) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                *to = [row[x], row[width + x], row[2 * width + x]];
            }
        }
        InterleavedPixels {
            width: width as u32,
            height: height as u32,
            channels: 3,
            samples,
        }
    }

    /// The rows of chroma that pixel row `y` is made of: the near and the far one.
    #[inline(always)]
    fn chroma_rows(&self, plane: usize, y: usize) -> [&[u8]; 2] {
        let stride = self.luma_stride / 2;
        let last = self.size[1].div_ceil(2) - 1;
        let near = y / 2;
        let far = match y % 2 {
            0 => near.saturating_sub(1),
            _ => (near + 1).min(last),
        };
        let plane = &self.chroma[plane * self.chroma.len() / 2..];
        let width = self.size[0].div_ceil(2);
        [near, far].map(|row| &plane[row * stride..][..width])
    }
}

kernel! {
    /// Writes the pixels `x` of row `y` to `to` as planes that are `plane` samples
    /// apart.
    pub(crate) fn fill_row = fill(
        planes: &YuvPlanes,
        y: usize,
        x: Range<usize>,
        to: &mut [u8],
        plane: usize,
    )
}

#[inline(always)]
fn fill(planes: &YuvPlanes, y: usize, x: Range<usize>, to: &mut [u8], plane: usize) {
    let luma = &planes.luma[y * planes.luma_stride..][..planes.luma_stride];
    let chroma = [0, 1].map(|plane| planes.chroma_rows(plane, y));
    // Pixels are converted in pairs that share their chroma.
    let first = x.start & !1;
    for start in (first..x.end).step_by(STEP) {
        let mut luma_step = [0; STEP];
        let count = STEP.min(luma.len() - start);
        match luma[start..].first_chunk::<STEP>() {
            Some(samples) => luma_step = *samples,
            None => luma_step[..count].copy_from_slice(&luma[start..]),
        }
        let [u, v] = chroma.map(|rows| upsample(rows, start / 2));
        let rgb = convert(&luma_step, &u, &v);
        let skipped = x.start.saturating_sub(start);
        let end = STEP.min(x.end - start);
        let at = start + skipped - x.start;
        for (channel, samples) in rgb.iter().enumerate() {
            let to = &mut to[channel * plane + at..];
            match (skipped, to.first_chunk_mut::<STEP>()) {
                (0, Some(to)) if end == STEP => *to = *samples,
                _ => to[..end - skipped].copy_from_slice(&samples[skipped..end]),
            }
        }
    }
}

/// Chroma samples for `STEP` pixels, from the chroma sample `first`.
#[inline(always)]
fn upsample([near, far]: [&[u8]; 2], first: usize) -> [u8; STEP] {
    // One more on each side. Those at the edges are repeated.
    let mut sums = [0_u16; STEP / 2 + 2];
    let sum = |near: u8, far: u8| 3 * u16::from(near) + u16::from(far);
    let inside = first.checked_sub(1).and_then(|start| {
        let near: &[u8; STEP / 2 + 2] = near.get(start..)?.first_chunk()?;
        let far: &[u8; STEP / 2 + 2] = far.get(start..)?.first_chunk()?;
        Some((near, far))
    });
    match inside {
        Some((near, far)) => sums = from_fn(|i| sum(near[i], far[i])),
        None => {
            for (i, to) in sums.iter_mut().enumerate() {
                let at = (first + i).saturating_sub(1).min(near.len() - 1);
                *to = sum(near[at], far[at]);
            }
        }
    }
    let mut samples = [0; STEP];
    for (i, pair) in samples.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let near = 3 * sums[i + 1] + 8;
        *pair = [sums[i], sums[i + 2]].map(|far| ((near + far) >> 4) as u8);
    }
    samples
}

/// Converts to RGB in libwebp's fixed point. Sums below zero count as zero, which they
/// are after the shift as well.
#[inline(always)]
fn convert(luma: &[u8; STEP], u: &[u8; STEP], v: &[u8; STEP]) -> [[u8; STEP]; 3] {
    let times = |sample: u8, factor: u16| {
        let sample = u32::from(u16::from(sample) << 8);
        ((sample * u32::from(factor)) >> 16) as u16
    };
    let luma = |i: usize| times(luma[i], 19_077);
    let reduced = |sum: u16| (sum >> 6).min(255) as u8;
    [
        from_fn(|i| reduced((luma(i) + times(v[i], 26_149)).saturating_sub(14_234))),
        from_fn(|i| {
            let chroma = times(u[i], 6_419) + times(v[i], 13_320);
            reduced((luma(i) + 8_708).saturating_sub(chroma))
        }),
        from_fn(|i| reduced((luma(i) + times(u[i], 33_050)).saturating_sub(17_685))),
    ]
}
