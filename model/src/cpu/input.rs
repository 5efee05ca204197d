//! Converts pixels or planes to the padded feature map that the stem reads.

use super::element::{Affine, Element};
use super::feature_map::ViewMut;
use super::isa::{Kernel, SupportedIsa, dispatch};
use super::simd::Simd;
use crate::threads::ThreadPool;

/// Normalises RGB pixels `[height, width, 3]`, one slice per image:
/// `y[n, i, j, c] = (pixel / 255 - mean[c]) / std[c]`.
///
/// # Panics
/// If the images do not have the size of the output, or it does not have 3
/// channels.
pub(crate) fn normalize_pixels<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
    images: &[&[u8]],
    (mean, std): ([f32; 3], [f32; 3]),
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    assert!(map.channels == 3 && map.n == images.len(), "{map:?}");
    for image in images {
        assert_eq!(
            image.len(),
            map.height * map.width * 3,
            "pixels of an image for {map:?}"
        );
    }
    // y = pixel * scale + shift, in units of the output
    let Affine {
        scale: unit,
        zero_point,
    } = if E::PER_WORD == 4 {
        output.affine()
    } else {
        Affine::IDENTITY
    };
    let scale: [f32; PERIOD] = std::array::from_fn(|i| 1.0 / (255.0 * std[i % 3] * unit));
    let shift: [f32; PERIOD] =
        std::array::from_fn(|i| zero_point - mean[i % 3] / (std[i % 3] * unit));
    output.for_each_row(threads, |n, y, row| {
        let len = map.width * 3;
        let pixels = PixelRow {
            from: &images[n][y * len..(y + 1) * len],
            to: row,
            scale: &scale,
            shift: &shift,
        };
        dispatch(isa, pixels);
    });
}

/// The period, in values, after which the three channels align with the lanes
/// of every vector width again: 3 channels times 16 lanes.
const PERIOD: usize = 48;

/// One row of RGB pixels.
struct PixelRow<'a, E> {
    from: &'a [u8],
    to: &'a mut [E],
    scale: &'a [f32; PERIOD],
    shift: &'a [f32; PERIOD],
}

impl<E: Element> Kernel for PixelRow<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (from, to) in self.from.chunks(PERIOD).zip(self.to.chunks_mut(PERIOD)) {
            // buffers for the last, partial block of the row
            let (mut pixels, mut elements) = ([0; PERIOD], [E::default(); PERIOD]);
            let whole = from.len() == PERIOD;
            let (x, y) = if whole {
                (from.as_ptr(), to.as_mut_ptr())
            } else {
                pixels[..from.len()].copy_from_slice(from);
                (pixels.as_ptr(), elements.as_mut_ptr())
            };
            for i in (0..PERIOD).step_by(S::LANES) {
                // SAFETY: both have a whole period, a multiple of the vector
                // width.
                unsafe {
                    let scale = S::load(self.scale.as_ptr().add(i));
                    let shift = S::load(self.shift.as_ptr().add(i));
                    // separate multiply and add, so that the rounding is the same on
                    // all instruction sets
                    E::store_result(S::load_u8(x.add(i)).mul(scale).add(shift), y.add(i));
                }
            }
            if !whole {
                to.copy_from_slice(&elements[..to.len()]);
            }
        }
    }
}

/// Interleaves planes `[n, 3, height, width]` to NHWC.
///
/// # Panics
/// If the length of `planes` is not that of the output's interior, or it does
/// not have 3 channels.
pub(crate) fn pad_planes<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
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
    output.for_each_row(threads, |n, y, row| {
        let from = |c: usize| &planes[(n * 3 + c) * plane + y * map.width..][..map.width];
        let planes = PlaneRow {
            from: [from(0), from(1), from(2)],
            to: row,
            affine,
        };
        dispatch(isa, planes);
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
            let mut elements = [[E::default(); BLOCK]; 3];
            for (elements, plane) in elements.iter_mut().zip(&mut planes) {
                let from = plane.next().unwrap_or_default();
                // buffers for the last, partial block of the row
                let mut floats = [0f32; BLOCK];
                floats[..from.len()].copy_from_slice(from);
                for i in (0..BLOCK).step_by(S::LANES) {
                    // SAFETY: both have a whole block, a multiple of the vector
                    // width.
                    unsafe {
                        let x = S::load(floats.as_ptr().add(i));
                        E::store(x, elements.as_mut_ptr().add(i), self.affine);
                    }
                }
            }
            let mut pixels = [E::default(); 3 * BLOCK];
            for (i, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&[elements[0][i], elements[1][i], elements[2][i]]);
            }
            let len = to.len();
            to.copy_from_slice(&pixels[..len]);
        }
    }
}
