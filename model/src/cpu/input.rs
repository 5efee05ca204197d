//! The network's input, written into the stem's padded map.

use super::map::ViewMut;
use crate::cores::Cores;

/// `y[n, i, j, c] = (pixel / 255 - mean[c]) / std[c]` of RGB pixels
/// `[height, width, 3]`, one slice for each image.
///
/// # Panics
/// When the slices are not those of a map of 3 channels.
pub fn normalize_pixels(
    cores: &Cores,
    images: &[&[u8]],
    mean: [f32; 3],
    std: [f32; 3],
    mut output: ViewMut,
) {
    let map = *output.map();
    assert!(map.channels == 3 && map.n == images.len(), "{map:?}");
    for image in images {
        assert_eq!(image.len(), map.height * map.width * 3, "bytes of {map:?}");
    }
    // One multiply-add a value; 24 of each, so that the compiler sees whole
    // vectors where the channels' period is 3.
    let scale: [f32; 24] = std::array::from_fn(|i| 1.0 / (255.0 * std[i % 3]));
    let shift: [f32; 24] = std::array::from_fn(|i| -mean[i % 3] / std[i % 3]);
    let to = output.shared();
    cores.for_each(map.n * map.height, |row, _| {
        let (n, y) = (row / map.height, row % map.height);
        let len = map.width * 3;
        let pixels = &images[n][y * len..(y + 1) * len];
        // SAFETY: the interior of one row, which no other task writes.
        let out = unsafe {
            std::slice::from_raw_parts_mut(to.start().add(map.at(n, y as isize, 0)), len)
        };
        for (out, pixels) in out.chunks_mut(24).zip(pixels.chunks(24)) {
            for (i, (y, &x)) in out.iter_mut().zip(pixels).enumerate() {
                *y = f32::from(x) * scale[i] + shift[i];
            }
        }
    });
}

/// `y[n, i, j, c]` of planes `[n, c, i, j]`, whatever the number of channels.
///
/// # Panics
/// When `planes` has not the length of the output's interior.
pub fn pad_planes(cores: &Cores, planes: &[f32], mut output: ViewMut) {
    let map = *output.map();
    let plane = map.height * map.width;
    assert_eq!(
        planes.len(),
        map.n * map.channels * plane,
        "floats of {map:?}"
    );
    let to = output.shared();
    cores.for_each(map.n * map.height, |row, _| {
        let (n, y) = (row / map.height, row % map.height);
        let len = map.width * map.channels;
        // SAFETY: the interior of one row, which no other task writes.
        let out = unsafe {
            std::slice::from_raw_parts_mut(to.start().add(map.at(n, y as isize, 0)), len)
        };
        for c in 0..map.channels {
            let from = &planes[(n * map.channels + c) * plane + y * map.width..][..map.width];
            for (out, &x) in out[c..].iter_mut().step_by(map.channels).zip(from) {
                *out = x;
            }
        }
    });
}
