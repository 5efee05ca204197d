//! The colour components of a JPEG as far as the crop needs them, and their
//! way to RGB: libjpeg's triangle filter for chroma, its fixed point for
//! colours, both to the bit.

use std::array::from_fn;
use std::ops::Range;

use super::super::bitmap::BAND;
use super::super::buffer::Buffer;
use super::super::simd::kernel;

/// Rows of the photo that one step makes.
const STEP: usize = BAND;

/// Free samples before and after a column: for the row that repeats the edge.
const MARGIN: usize = 8;

/// The part of a JPEG that the crop needs, before upsampling and colours.
pub(in super::super) struct Planes {
    size: [usize; 2],
    planes: Vec<Plane>,
}

/// A colour component.
pub(super) struct Plane {
    /// Width and height of the component.
    own: [usize; 2],
    /// Pixels to one sample, across and down.
    ratio: [usize; 2],
    /// The first sample that is kept.
    first: [usize; 2],
    /// Points of a block.
    points: [usize; 2],
    /// From one column to the next: a margin, the column, a margin.
    stride: usize,
    /// Column by column.
    samples: Buffer,
}

impl Plane {
    /// Room for `count` blocks of `points` samples from block `first` on; both
    /// across and down, as is all else.
    pub(super) fn new(
        size: [usize; 2],
        ratio: [usize; 2],
        points: [usize; 2],
        first: [usize; 2],
        count: [usize; 2],
    ) -> Self {
        let stride = 2 * MARGIN + count[1] * points[1];
        Self {
            own: from_fn(|axis| size[axis].div_ceil(ratio[axis])),
            ratio,
            first: from_fn(|axis| first[axis] * points[axis]),
            points,
            stride,
            // A step may read beyond the last column.
            samples: Buffer::new(stride * count[0] * points[0] + STEP),
        }
    }

    /// The place of a block, counted from the first that is kept, and the
    /// distance of its columns.
    #[inline(always)]
    pub(super) fn block(&mut self, [x, y]: [usize; 2]) -> (&mut [u8], usize) {
        let at = x * self.points[0] * self.stride + MARGIN + y * self.points[1];
        (&mut self.samples[at..], self.stride)
    }

    /// Makes all of a block one sample.
    pub(super) fn fill_block(&mut self, at: [usize; 2], sample: u8) {
        let [across, down] = self.points;
        let (block, stride) = self.block(at);
        for column in block.chunks_mut(stride).take(across) {
            column[..down].fill(sample);
        }
    }

    /// Repeats the first and the last row beyond the edges.
    fn extend(&mut self) {
        let end = (self.own[1] - self.first[1]).min(self.stride - 2 * MARGIN);
        for column in self.samples.chunks_exact_mut(self.stride) {
            column[MARGIN - 1] = column[MARGIN];
            column[MARGIN + end] = column[MARGIN + end - 1];
        }
    }

    /// `N` samples of column `x` from the one before `y` on.
    #[inline(always)]
    fn above<const N: usize>(&self, x: usize, y: usize) -> &[u8; N] {
        let at = (x - self.first[0]) * self.stride + MARGIN - 1 + y - self.first[1];
        self.samples[at..].first_chunk().unwrap_or(&[0; N])
    }

    /// Each sample of column `x` from `y` on `N` times.
    #[inline(always)]
    fn repeated<const N: usize>(&self, x: usize, y: usize) -> [u8; STEP] {
        let column: &[u8; STEP + 1] = self.above(x, y);
        from_fn(|i| column[i / N + 1])
    }

    /// The samples at full resolution of column `x` from row `y` on, which
    /// must be a multiple of the ratio.
    #[inline(always)]
    fn column(&self, x: usize, y: usize) -> [u8; STEP] {
        let own_y = y / self.ratio[1];
        let near = x / self.ratio[0];
        let far = if x.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(self.own[0] - 1)
        };
        // two pixels are too few for the filter, as libjpeg has it
        let wide = self.own[0] > 2;
        match self.ratio {
            [2, 1] if wide => {
                let [near, far]: [&[u8; STEP + 1]; 2] = [near, far].map(|x| self.above(x, own_y));
                let half = 1 + x as u16 % 2;
                from_fn(|i| {
                    ((3 * u16::from(near[i + 1]) + u16::from(far[i + 1]) + half) >> 2) as u8
                })
            }
            [1, 2] => {
                let near: &[u8; STEP / 2 + 2] = self.above(near, own_y);
                down(near.map(u16::from), [1, 2], 2)
            }
            [2, 2] if wide => {
                let [near, far]: [&[u8; STEP / 2 + 2]; 2] =
                    [near, far].map(|x| self.above(x, own_y));
                let half = 8 - x as u16 % 2;
                down(
                    from_fn(|i| 3 * u16::from(near[i]) + u16::from(far[i])),
                    [half; 2],
                    4,
                )
            }
            [_, 1] => self.repeated::<1>(near, own_y),
            [_, 2] => self.repeated::<2>(near, own_y),
            _ => self.repeated::<4>(near, own_y),
        }
    }
}

/// Twice as many samples as there are between the first and the last sum: three
/// parts the nearer, one part the farther. `half` goes to the upper and the
/// lower one before the shift.
#[inline(always)]
fn down(sums: [u16; STEP / 2 + 2], half: [u16; 2], shift: u32) -> [u8; STEP] {
    let mut all = [0; STEP];
    let (pairs, _) = all.as_chunks_mut();
    for (i, pair) in pairs.iter_mut().enumerate() {
        let near = 3 * sums[i + 1];
        *pair = [
            ((near + sums[i] + half[0]) >> shift) as u8,
            ((near + sums[i + 2] + half[1]) >> shift) as u8,
        ];
    }
    all
}

/// ITU-T T.871, 7, in libjpeg's 16-bit fixed point: each sum is rounded once.
/// The whole parts of the factors (1.402, -0.714, 1.772) are taken apart, so
/// that all but green's stays within 16 bits.
#[inline(always)]
fn rgb(y: &[u8; STEP], cb: &[u8; STEP], cr: &[u8; STEP]) -> [[u8; STEP]; 3] {
    let y = |i: usize| i16::from(y[i]);
    let cb = |i: usize| i16::from(cb[i]) - 128;
    let cr = |i: usize| i16::from(cr[i]) - 128;
    // factor * value / 2^16, to the nearest: twice the value, then half of that
    let part = |value: i16, factor: i16| {
        let twice = (i32::from(2 * value) * i32::from(factor)) >> 16;
        (twice as i16 + 1) >> 1
    };
    let clamp = |value: i16| value.clamp(0, 255) as u8;
    let green = |i: usize| {
        let sum = -22_554 * i32::from(cb(i)) + 18_734 * i32::from(cr(i));
        ((sum + (1 << 15)) >> 16) as i16 - cr(i)
    };
    [
        from_fn(|i| clamp(y(i) + cr(i) + part(cr(i), 26_345))),
        from_fn(|i| clamp(y(i) + green(i))),
        from_fn(|i| clamp(y(i) + 2 * cb(i) + part(cb(i), -14_942))),
    ]
}

impl Planes {
    /// The planes of a photo of this size, filled.
    pub(super) fn new(size: [usize; 2], mut planes: Vec<Plane>) -> Self {
        planes.iter_mut().for_each(Plane::extend);
        Self { size, planes }
    }

    /// Width and height.
    pub(in super::super) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// 1 for grey, 3 for RGB.
    pub(in super::super) fn channels(&self) -> usize {
        self.planes.len()
    }
}

kernel! {
    /// The columns `x` of every channel, in the rows `y`: they begin at a
    /// multiple of four, and what is written is rounded up to whole steps.
    /// `plane` and `stride` lie between channels and columns.
    pub(in super::super) fn columns = columns_of(
        planes: &Planes,
        x: Range<usize>,
        y: Range<usize>,
        to: &mut [u8],
        distance: [usize; 2],
    )
}

#[inline(always)]
fn columns_of(
    planes: &Planes,
    x: Range<usize>,
    y: Range<usize>,
    to: &mut [u8],
    [plane, stride]: [usize; 2],
) {
    for (i, x) in x.enumerate() {
        for (j, y) in y.clone().step_by(STEP).enumerate() {
            let at = i * stride + j * STEP;
            match &planes.planes[..] {
                [luma, cb, cr] => {
                    let (luma, cb, cr) = (luma.column(x, y), cb.column(x, y), cr.column(x, y));
                    for (channel, samples) in rgb(&luma, &cb, &cr).iter().enumerate() {
                        to[channel * plane + at..][..STEP].copy_from_slice(samples);
                    }
                }
                planes => {
                    for (channel, plane_of) in planes.iter().enumerate() {
                        to[channel * plane + at..][..STEP].copy_from_slice(&plane_of.column(x, y));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane of one block, its rows and columns given.
    fn plane(size: [usize; 2], ratio: [usize; 2], sample: impl Fn(usize, usize) -> u8) -> Plane {
        let mut plane = Plane::new(size, ratio, [8, 8], [0, 0], [1, 1]);
        let (block, stride) = plane.block([0, 0]);
        for (x, column) in block.chunks_mut(stride).take(8).enumerate() {
            for (y, to) in column.iter_mut().take(8).enumerate() {
                *to = sample(x, y);
            }
        }
        plane.extend();
        plane
    }

    #[test]
    fn a_step_becomes_a_ramp() {
        // by hand: (3 * 0 + 100 + 2) >> 2 = 25, (3 * 100 + 0 + 1) >> 2 = 75
        let step = |x: usize| if x < 2 { 0 } else { 100 };
        let across = plane([8, 1], [2, 1], |x, _| step(x));
        let row: [u8; 8] = from_fn(|x| across.column(x, 0)[0]);
        assert_eq!(row, [0, 0, 0, 25, 75, 100, 100, 100]);
        // the upper sample's half is rounded down, the lower one's up
        let down = plane([1, 8], [1, 2], |_, y| step(y));
        assert_eq!(down.column(0, 0)[..8], [0, 0, 0, 25, 75, 100, 100, 100]);
        // what the block holds beyond the edge does not count
        let both = plane([6, 4], [2, 2], |_, y| [40, 80, 255][y.min(2)]);
        assert_eq!(both.column(5, 0)[..4], [40, 50, 70, 80]);
    }

    #[test]
    fn what_the_filter_does_not_cover_is_repeated() {
        let narrow = plane([4, 16], [2, 2], |x, y| (10 * x + y) as u8);
        assert_eq!(narrow.column(3, 4)[..4], [12, 12, 13, 13]);
        let wide = plane([32, 8], [4, 1], |x, y| (10 * x + y) as u8);
        assert_eq!(wide.column(7, 4)[..2], [14, 15]);
    }

    #[test]
    fn colours_are_those_of_libjpeg() {
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let y = cb.wrapping_mul(31).wrapping_add(cr.wrapping_mul(57));
                let got = rgb(&[y; STEP], &[cb; STEP], &[cr; STEP]).map(|channel| channel[0]);
                // its tables, as jdcolor.c makes them
                let luma = (i32::from(y) << 16) + (1 << 15);
                let [cb, cr] = [cb, cr].map(|chroma| i32::from(chroma) - 128);
                let wanted = [
                    luma + 91_881 * cr,
                    luma - 22_554 * cb - 46_802 * cr,
                    luma + 116_130 * cb,
                ];
                let clamp = |value: i32| (value >> 16).clamp(0, 255) as u8;
                assert_eq!(got, wanted.map(clamp), "{y} {cb} {cr}");
            }
        }
    }
}
