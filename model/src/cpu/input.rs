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
    images: &[&[u8]],
    mean: [f32; 3],
    std: [f32; 3],
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    assert!(map.channels == 3 && map.n == images.len(), "{map:?}");
    for image in images {
        assert_eq!(image.len(), map.height * map.width * 3, "bytes of {map:?}");
    }
    // 256 numbers a channel, looked up: the rounding is done once.
    let affine = output.affine();
    let number = |c: usize, x: usize| (x as f32 / 255.0 - mean[c]) / std[c];
    let table: [[E; 256]; 3] =
        std::array::from_fn(|c| std::array::from_fn(|x| E::from_f32(number(c, x), affine)));
    output.for_each_row(cores, |n, y, row| {
        let len = map.width * 3;
        let pixels = &images[n][y * len..(y + 1) * len];
        for (out, rgb) in row.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            for c in 0..3 {
                out[c] = table[c][usize::from(rgb[c])];
            }
        }
    });
}

/// `y[n, i, j, c]` of planes `[n, c, i, j]`, whatever the number of channels.
///
/// # Panics
/// When `planes` has not the length of the output's interior.
pub(crate) fn pad_planes<E: Element>(
    cores: &Cores,
    level: Level,
    planes: &[f32],
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    let plane = map.height * map.width;
    assert_eq!(
        planes.len(),
        map.n * map.channels * plane,
        "floats of {map:?}"
    );
    let affine = output.affine();
    output.for_each_row(cores, |n, y, row| {
        for c in 0..map.channels {
            let from = &planes[(n * map.channels + c) * plane + y * map.width..][..map.width];
            let line = Line {
                from,
                to: &mut row[c..],
                step: map.channels,
                affine,
            };
            dispatch(level, line);
        }
    });
}

/// One row of one plane, to every `step`-th number.
struct Line<'a, E> {
    from: &'a [f32],
    to: &'a mut [E],
    step: usize,
    affine: Affine,
}

impl<E: Element> Kernel for Line<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut numbers = [E::default(); 16];
        let targets = self.to.chunks_mut(self.step * S::LANES);
        for (from, to) in self.from.chunks(S::LANES).zip(targets) {
            if from.len() == S::LANES {
                // SAFETY: `from` has `LANES` floats, `numbers` as much room.
                unsafe {
                    let x = S::load(from.as_ptr());
                    E::store(x, numbers.as_mut_ptr(), self.affine);
                }
            } else {
                for (number, &x) in numbers.iter_mut().zip(from) {
                    *number = E::from_f32(x, self.affine);
                }
            }
            for (to, &number) in to.iter_mut().step_by(self.step).zip(&numbers) {
                *to = number;
            }
        }
    }
}
