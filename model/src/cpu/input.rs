//! The network's input, written into the stem's padded map.

use super::element::Element;
use super::map::ViewMut;
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
pub(crate) fn pad_planes<E: Element>(cores: &Cores, planes: &[f32], mut output: ViewMut<E>) {
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
            for (out, &x) in row[c..].iter_mut().step_by(map.channels).zip(from) {
                *out = E::from_f32(x, affine);
            }
        }
    });
}
