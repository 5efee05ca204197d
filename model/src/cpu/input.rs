//! The network's input, written into the stem's padded map.

use super::element::{Affine, Element};
use super::level::{Kernel, Level, dispatch};
use super::map::ViewMut;
use super::simd::Simd;
use crate::cores::Cores;

/// `y[n, i, j, c] = (pixel / 255 - mean[c]) / std[c]` of RGB pixels
/// `[height, width, 3]`, one slice for each image.
///
/// # Panics
/// When the slices are not those of a map of 3 channels.
pub(crate) fn normalize_pixels<E: Element>(
    cores: &Cores,
    level: Level,
    images: &[&[u8]],
    (mean, std): ([f32; 3], [f32; 3]),
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    assert!(map.channels == 3 && map.n == images.len(), "{map:?}");
    for image in images {
        assert_eq!(image.len(), map.height * map.width * 3, "bytes of {map:?}");
    }
    // y = pixel * scale + shift, in what the output's numbers stand for
    let Affine { scale: unit, zero } = if E::PER_WORD == 4 {
        output.affine()
    } else {
        Affine::IDENTITY
    };
    let scale: [f32; PATTERN] = std::array::from_fn(|i| 1.0 / (255.0 * std[i % 3] * unit));
    let shift: [f32; PATTERN] = std::array::from_fn(|i| zero - mean[i % 3] / (std[i % 3] * unit));
    output.for_each_row(cores, |n, y, row| {
        let len = map.width * 3;
        let pixels = PixelRow {
            from: &images[n][y * len..(y + 1) * len],
            to: row,
            scale: &scale,
            shift: &shift,
        };
        dispatch(level, pixels);
    });
}

/// The channels of as many pixels as there are lanes in the widest vector:
/// after so many the three of them meet the vectors as at first.
const PATTERN: usize = 48;

/// One row of RGB pixels.
struct PixelRow<'a, E> {
    from: &'a [u8],
    to: &'a mut [E],
    scale: &'a [f32; PATTERN],
    shift: &'a [f32; PATTERN],
}

impl<E: Element> Kernel for PixelRow<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (from, to) in self.from.chunks(PATTERN).zip(self.to.chunks_mut(PATTERN)) {
            // the row's last pixels have room here
            let (mut pixels, mut numbers) = ([0; PATTERN], [E::default(); PATTERN]);
            let whole = from.len() == PATTERN;
            let (x, y) = if whole {
                (from.as_ptr(), to.as_mut_ptr())
            } else {
                pixels[..from.len()].copy_from_slice(from);
                (pixels.as_ptr(), numbers.as_mut_ptr())
            };
            for i in (0..PATTERN).step_by(S::LANES) {
                // SAFETY: both have a whole pattern, which vectors divide.
                unsafe {
                    let scale = S::load(self.scale.as_ptr().add(i));
                    let shift = S::load(self.shift.as_ptr().add(i));
                    // not fused: every instruction set rounds alike
                    E::put(S::load_u8(x.add(i)).mul(scale).add(shift), y.add(i));
                }
            }
            if !whole {
                to.copy_from_slice(&numbers[..to.len()]);
            }
        }
    }
}

/// `y[n, i, j, c]` of planes `[n, 3, i, j]`.
///
/// # Panics
/// When `planes` has not the length of the interior of a map of 3 channels.
pub(crate) fn pad_planes<E: Element>(
    cores: &Cores,
    level: Level,
    planes: &[f32],
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    let plane = map.height * map.width;
    assert!(
        map.channels == 3 && planes.len() == map.n * 3 * plane,
        "{} floats of {map:?}",
        planes.len()
    );
    let affine = output.affine();
    output.for_each_row(cores, |n, y, row| {
        let from = |c: usize| &planes[(n * 3 + c) * plane + y * map.width..][..map.width];
        let planes = PlaneRow {
            from: [from(0), from(1), from(2)],
            to: row,
            affine,
        };
        dispatch(level, planes);
    });
}

/// One row of three planes.
struct PlaneRow<'a, E> {
    from: [&'a [f32]; 3],
    to: &'a mut [E],
    affine: Affine,
}

/// Pixels that are interleaved at a time.
const BLOCK: usize = 16;

impl<E: Element> Kernel for PlaneRow<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut planes = self.from.map(|plane| plane.chunks(BLOCK));
        for to in self.to.chunks_mut(3 * BLOCK) {
            let mut numbers = [[E::default(); BLOCK]; 3];
            for (numbers, plane) in numbers.iter_mut().zip(&mut planes) {
                let from = plane.next().unwrap_or_default();
                // the row's last pixels have room here
                let mut floats = [0f32; BLOCK];
                floats[..from.len()].copy_from_slice(from);
                for i in (0..BLOCK).step_by(S::LANES) {
                    // SAFETY: both have a block, which vectors divide.
                    unsafe {
                        let x = S::load(floats.as_ptr().add(i));
                        E::store(x, numbers.as_mut_ptr().add(i), self.affine);
                    }
                }
            }
            let mut pixels = [E::default(); 3 * BLOCK];
            for (i, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&[numbers[0][i], numbers[1][i], numbers[2][i]]);
            }
            let len = to.len();
            to.copy_from_slice(&pixels[..len]);
        }
    }
}
