//! The component planes of a JPEG, limited to the part inside the crop, and their
//! conversion to RGB. Chroma upsampling is bit-exact with the triangle filter of
//! libjpeg ("fancy upsampling").

use std::array::from_fn;
use std::ops::Range;

use crate::decode::jpeg::color::{Color, cmyk_to_rgb, ycbcr_to_rgb, ycck_to_rgb};
use crate::support::buffer::ScratchBuffer;
use crate::support::simd::kernel;

/// Rows of the image that are upsampled and converted at a time.
pub(crate) const STEP: usize = 64;

/// Unused samples before and after each column. The first and the last row are
/// repeated there for the upsampling filter.
const MARGIN: usize = 8;

/// The decoded part of a JPEG, before upsampling and colour conversion.
pub(crate) struct JpegPlanes {
    size: [usize; 2],
    planes: Vec<ComponentPlane>,
    color: Color,
}

/// The samples of a colour component. Pairs are (horizontal, vertical).
pub(crate) struct ComponentPlane {
    /// Width and height of the whole component in samples.
    size: [usize; 2],
    /// Image pixels per sample.
    ratio: [usize; 2],
    /// The first sample that is stored.
    first: [usize; 2],
    /// Samples per block.
    points: [usize; 2],
    /// Distance between columns: a margin, the column, a margin.
    stride: usize,
    /// The samples, column by column.
    samples: ScratchBuffer,
}

impl ComponentPlane {
    /// A plane with space for `count` blocks of `points` samples, starting at
    /// block `first`. `size` is the size of the image.
    pub(crate) fn new(
        size: [usize; 2],
        ratio: [usize; 2],
        points: [usize; 2],
        first: [usize; 2],
        count: [usize; 2],
    ) -> Self {
        let stride = 2 * MARGIN + count[1] * points[1];
        Self {
            size: from_fn(|axis| size[axis].div_ceil(ratio[axis])),
            ratio,
            first: from_fn(|axis| first[axis] * points[axis]),
            points,
            stride,
            // A step may read beyond the last column.
            samples: ScratchBuffer::new(stride * count[0] * points[0] + STEP),
        }
    }

    /// The samples of a block, counted from the first stored one, and the distance
    /// between their columns.
    #[inline(always)]
    pub(crate) fn block(&mut self, [x, y]: [usize; 2]) -> (&mut [u8], usize) {
        let at = x * self.points[0] * self.stride + MARGIN + y * self.points[1];
        (&mut self.samples[at..], self.stride)
    }

    /// Sets all samples of a block to the same value.
    pub(crate) fn fill_block(&mut self, at: [usize; 2], sample: u8) {
        let [width, height] = self.points;
        let (block, stride) = self.block(at);
        for column in block.chunks_mut(stride).take(width) {
            column[..height].fill(sample);
        }
    }

    /// Repeats the first and the last row in the margins.
    fn extend_edges(&mut self) {
        let end = (self.size[1] - self.first[1]).min(self.stride - 2 * MARGIN);
        for column in self.samples.chunks_exact_mut(self.stride) {
            column[MARGIN - 1] = column[MARGIN];
            column[MARGIN + end] = column[MARGIN + end - 1];
        }
    }

    /// `N` samples of column `x`, starting one above row `y`.
    #[inline(always)]
    fn samples_from_above<const N: usize>(&self, x: usize, y: usize) -> &[u8; N] {
        let at = (x - self.first[0]) * self.stride + MARGIN - 1 + y - self.first[1];
        self.samples[at..].first_chunk().unwrap_or(&[0; N])
    }

    /// The samples of column `x` from row `y`, each repeated `N` times.
    #[inline(always)]
    fn repeated<const N: usize>(&self, x: usize, y: usize) -> [u8; STEP] {
        let column: &[u8; STEP + 1] = self.samples_from_above(x, y);
        from_fn(|i| column[i / N + 1])
    }

    /// The samples of column `x` that cover the rows from `y`, three each.
    #[inline(always)]
    fn repeated_thrice(&self, x: usize, y: usize) -> [u8; STEP] {
        let column: &[u8; STEP / 3 + 3] = self.samples_from_above(x, y / 3);
        from_fn(|i| column[(y % 3 + i) / 3 + 1])
    }

    /// Upsamples column `x` of the image from row `y`, which must be a multiple of
    /// four.
    #[inline(always)]
    fn upsampled_column(&self, x: usize, y: usize) -> [u8; STEP] {
        let near = x / self.ratio[0];
        if self.ratio[1] == 3 {
            return self.repeated_thrice(near, y);
        }
        let y = y / self.ratio[1];
        let far = if x.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(self.size[0] - 1)
        };
        // libjpeg repeats the samples of components of one or two columns
        let wide = self.size[0] > 2;
        match self.ratio {
            [2, 1] if wide => {
                let [near, far]: [&[u8; STEP + 1]; 2] =
                    [near, far].map(|x| self.samples_from_above(x, y));
                let rounding = 1 + x as u16 % 2;
                from_fn(|i| {
                    ((3 * u16::from(near[i + 1]) + u16::from(far[i + 1]) + rounding) >> 2) as u8
                })
            }
            [1, 2] => {
                let near: &[u8; STEP / 2 + 2] = self.samples_from_above(near, y);
                upsample_rows(near.map(u16::from), [1, 2], 2)
            }
            [2, 2] if wide => {
                let [near, far]: [&[u8; STEP / 2 + 2]; 2] =
                    [near, far].map(|x| self.samples_from_above(x, y));
                let rounding = 8 - x as u16 % 2;
                upsample_rows(
                    from_fn(|i| 3 * u16::from(near[i]) + u16::from(far[i])),
                    [rounding; 2],
                    4,
                )
            }
            [_, 1] => self.repeated::<1>(near, y),
            [_, 2] => self.repeated::<2>(near, y),
            _ => self.repeated::<4>(near, y),
        }
    }
}

/// Computes two rows from each of `sums` except the first and the last: 3/4 of
/// it and 1/4 of the sum above or below. `rounding` is added to the upper and to
/// the lower of the two rows before the shift.
#[inline(always)]
fn upsample_rows(sums: [u16; STEP / 2 + 2], rounding: [u16; 2], shift: u32) -> [u8; STEP] {
    let mut all = [0; STEP];
    let (pairs, _) = all.as_chunks_mut();
    for (i, pair) in pairs.iter_mut().enumerate() {
        let near = 3 * sums[i + 1];
        *pair = [
            ((near + sums[i] + rounding[0]) >> shift) as u8,
            ((near + sums[i + 2] + rounding[1]) >> shift) as u8,
        ];
    }
    all
}

impl JpegPlanes {
    /// The decoded planes of an image of this size.
    pub(crate) fn new(size: [usize; 2], mut planes: Vec<ComponentPlane>, color: Color) -> Self {
        planes.iter_mut().for_each(ComponentPlane::extend_edges);
        Self {
            size,
            planes,
            color,
        }
    }

    /// Width and height of the image in pixels.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// 1 (grey) or 3 (RGB). Other numbers are those of unchanged components.
    pub(crate) fn channels(&self) -> usize {
        match self.color {
            Color::Unchanged => self.planes.len(),
            _ => 3,
        }
    }
}

kernel! {
    /// Writes the columns `x` of every channel, limited to the rows `y`, to `to`.
    /// `y` starts at a multiple of four, and the number of rows written is rounded
    /// up to a multiple of `STEP`. `strides` are the distances between channels
    /// and between columns in `to`.
    pub(crate) fn fill_columns = fill(
        planes: &JpegPlanes,
        x: Range<usize>,
        y: Range<usize>,
        to: &mut [u8],
        strides: [usize; 2],
    )
}

#[inline(always)]
fn fill(
    planes: &JpegPlanes,
    x: Range<usize>,
    y: Range<usize>,
    to: &mut [u8],
    [plane, stride]: [usize; 2],
) {
    for (i, x) in x.enumerate() {
        for (j, y) in y.clone().step_by(STEP).enumerate() {
            let at = i * stride + j * STEP;
            let mut write = |channel: usize, samples: &[u8; STEP]| {
                to[channel * plane + at..][..STEP].copy_from_slice(samples);
            };
            match (planes.color, &planes.planes[..]) {
                (Color::YCbCr, [luma, cb, cr]) => {
                    let luma = luma.upsampled_column(x, y);
                    let cb = cb.upsampled_column(x, y);
                    let cr = cr.upsampled_column(x, y);
                    let rgb = ycbcr_to_rgb(&luma, &cb, &cr);
                    (0..3).for_each(|channel| write(channel, &rgb[channel]));
                }
                (Color::Cmyk | Color::Ycck, [inks @ .., black]) if inks.len() == 3 => {
                    let [a, b, c] = from_fn(|i| inks[i].upsampled_column(x, y));
                    let black = black.upsampled_column(x, y);
                    let rgb = match planes.color {
                        Color::Cmyk => cmyk_to_rgb([&a, &b, &c], &black),
                        _ => ycck_to_rgb([&a, &b, &c], &black),
                    };
                    (0..3).for_each(|channel| write(channel, &rgb[channel]));
                }
                (_, planes) => {
                    for (channel, component) in planes.iter().enumerate() {
                        write(channel, &component.upsampled_column(x, y));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane of one block with the given samples (x, y).
    fn plane(
        size: [usize; 2],
        ratio: [usize; 2],
        sample: impl Fn(usize, usize) -> u8,
    ) -> ComponentPlane {
        let mut plane = ComponentPlane::new(size, ratio, [8, 8], [0, 0], [1, 1]);
        let (block, stride) = plane.block([0, 0]);
        for (x, column) in block.chunks_mut(stride).take(8).enumerate() {
            for (y, to) in column.iter_mut().take(8).enumerate() {
                *to = sample(x, y);
            }
        }
        plane.extend_edges();
        plane
    }

    #[test]
    fn upsampling_turns_an_edge_into_a_ramp() {
        // (3 * 0 + 100 + 2) >> 2 = 25, (3 * 100 + 0 + 1) >> 2 = 75
        let edge = |x: usize| if x < 2 { 0 } else { 100 };
        let horizontal = plane([8, 1], [2, 1], |x, _| edge(x));
        let row: [u8; 8] = from_fn(|x| horizontal.upsampled_column(x, 0)[0]);
        assert_eq!(row, [0, 0, 0, 25, 75, 100, 100, 100]);
        // a half is rounded down in the upper pixel and up in the lower one
        let vertical = plane([1, 8], [1, 2], |_, y| edge(y));
        assert_eq!(
            vertical.upsampled_column(0, 0)[..8],
            [0, 0, 0, 25, 75, 100, 100, 100]
        );
        // samples of the block beyond the edge of the image are ignored
        let both = plane([6, 4], [2, 2], |_, y| [40, 80, 255][y.min(2)]);
        assert_eq!(both.upsampled_column(5, 0)[..4], [40, 50, 70, 80]);
    }

    #[test]
    fn samples_are_repeated_where_libjpeg_does_not_filter() {
        let narrow = plane([4, 16], [2, 2], |x, y| (10 * x + y) as u8);
        assert_eq!(narrow.upsampled_column(3, 4)[..4], [12, 12, 13, 13]);
        let wide = plane([32, 8], [4, 1], |x, y| (10 * x + y) as u8);
        assert_eq!(wide.upsampled_column(7, 4)[..2], [14, 15]);
        // row 4 is the second of three that the sample of row 3 covers
        let tall = plane([8, 24], [1, 3], |x, y| (10 * x + y) as u8);
        assert_eq!(tall.upsampled_column(2, 4)[..6], [21, 21, 22, 22, 22, 23]);
    }
}
