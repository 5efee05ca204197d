//! Decoded pixels, and bands of them as the resize wants them: planes of
//! lines that lie along the direction in which nothing is mixed yet.

use std::ops::Range;

use super::buffer::Buffer;
use super::jpeg::{Planes, columns};
use super::simd::{Level, kernel};
use super::transpose::{LENGTH, transpose};

/// Pixels across a band: what is mixed in one go.
pub(super) const BAND: usize = 64;

/// A decoded photo.
pub(super) enum Picture {
    /// All of it.
    Bitmap(Bitmap),
    /// A JPEG's part under the crop, before upsampling and colours.
    Planes(Planes),
}

/// Decoded pixels: 8 bits a sample, rows from the top, no padding.
pub(super) struct Bitmap {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub channels: usize,
    /// `[height, width, channels]`.
    pub samples: Vec<u8>,
}

/// A part of a picture: `[channels, lines, BAND]`.
#[derive(Default)]
pub(super) struct Band {
    /// The samples, as above.
    pub samples: Buffer,
    /// From one channel to the next: the lines, rounded up to whole tiles.
    pub plane: usize,
    /// The samples before they are turned over.
    unturned: Buffer,
}

impl Picture {
    /// Width and height.
    pub(super) fn size(&self) -> [usize; 2] {
        match self {
            Self::Bitmap(bitmap) => [bitmap.width as usize, bitmap.height as usize],
            Self::Planes(planes) => planes.size(),
        }
    }

    /// Channels that count: alpha is left behind.
    pub(super) fn channels(&self) -> usize {
        match self {
            Self::Bitmap(bitmap) if bitmap.channels < 3 => 1,
            Self::Bitmap(_) => 3,
            Self::Planes(planes) => planes.channels(),
        }
    }

    /// Of the `lines`, which are columns (rows, where `by_rows`), the part
    /// that crosses these rows (columns), at most `BAND`. Samples of the band
    /// beyond them are anything.
    pub(super) fn band(
        &self,
        level: Level,
        lines: Range<usize>,
        across: Range<usize>,
        by_rows: bool,
        band: &mut Band,
    ) {
        let channels = self.channels();
        let count = lines.len().next_multiple_of(LENGTH);
        band.plane = count * BAND;
        band.samples.fit(channels * band.plane);
        match (self, by_rows) {
            (Self::Bitmap(bitmap), true) => {
                for (i, y) in lines.enumerate() {
                    let to = &mut band.samples[i * BAND..];
                    bitmap.split(level, y, across.clone(), to, band.plane);
                }
            }
            (Self::Bitmap(bitmap), false) => {
                band.unturned.fit(channels * band.plane);
                for (i, y) in across.enumerate() {
                    let to = &mut band.unturned[i * count..];
                    bitmap.split(level, y, lines.clone(), to, band.plane);
                }
                turn(level, band, count, [band.plane, count]);
            }
            (Self::Planes(planes), true) => {
                let stride = count.next_multiple_of(BAND);
                let plane = stride * BAND;
                band.unturned.fit(channels * plane);
                let to = &mut band.unturned;
                columns(level, planes, across, lines, to, [plane, stride]);
                turn(level, band, count, [plane, stride]);
            }
            (Self::Planes(planes), false) => {
                let distance = [band.plane, BAND];
                columns(level, planes, lines, across, &mut band.samples, distance);
            }
        }
    }
}

impl Bitmap {
    /// The pixels `x` of row `y`, its channels `plane` samples apart.
    fn split(&self, level: Level, y: usize, x: Range<usize>, to: &mut [u8], plane: usize) {
        let row = &self.samples[y * self.width as usize * self.channels..];
        let row = &row[x.start * self.channels..x.end * self.channels];
        match self.channels {
            1 => to[..row.len()].copy_from_slice(row),
            2 => split(level, row, 2, &mut [to]),
            channels => {
                let (red, rest) = to.split_at_mut(plane);
                let (green, blue) = rest.split_at_mut(plane);
                split(level, row, channels, &mut [red, green, blue]);
            }
        }
    }
}

kernel! {
    /// The first channels of a row of pixels.
    fn split = split_pixels(row: &[u8], channels: usize, to: &mut [&mut [u8]])
}

#[inline(always)]
fn split_pixels(row: &[u8], channels: usize, to: &mut [&mut [u8]]) {
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

kernel! {
    /// Turns over every channel of a band: `BAND` lines of `length` samples,
    /// which lie `stride` apart and their channels `plane`.
    fn turn = turn_band(band: &mut Band, length: usize, distance: [usize; 2])
}

#[inline(always)]
fn turn_band(band: &mut Band, length: usize, [plane, stride]: [usize; 2]) {
    let to = band.samples.chunks_exact_mut(band.plane);
    for (from, to) in band.unturned.chunks_exact(plane).zip(to) {
        transpose(from, stride, [BAND, length], to, BAND);
    }
}
