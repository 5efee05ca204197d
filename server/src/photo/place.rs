//! The last step: the kept part of the photo as upright RGB on a black square.

use super::crop::Side;
use super::orientation::Orientation;
use super::resize::Kept;
use super::simd::{Level, kernel};

/// Upright RGB: `[crop, crop, 3]`. The `sides` are the upright ones.
pub(super) fn place(
    level: Level,
    kept: &Kept,
    [across, down]: [Side; 2],
    orientation: Orientation,
    crop: u32,
) -> Vec<u8> {
    let crop = crop as usize;
    let [width, height] = kept.size;
    let plane = height * kept.stride;
    // Stored rows are upright columns in a photo that lies on its side.
    let [flip_x, flip_y] = orientation.swap([orientation.flip_x, orientation.flip_y]);
    let mut rgb = vec![0; crop * crop * 3];
    for y in 0..height {
        let to = ((y + down.pad as usize) * crop + across.pad as usize) * 3;
        let to = &mut rgb[to..][..width * 3];
        let from = if flip_y { height - 1 - y } else { y } * kept.stride;
        let row =
            |channel: usize| &kept.samples[(channel % kept.channels) * plane + from..][..width];
        join(level, [row(0), row(1), row(2)], to);
        if flip_x {
            to.as_chunks_mut::<3>().0.reverse();
        }
    }
    rgb
}

kernel! {
    /// Three planes as pixels.
    fn join = join_planes(planes: [&[u8]; 3], to: &mut [u8])
}

#[inline(always)]
fn join_planes([red, green, blue]: [&[u8]; 3], to: &mut [u8]) {
    let pixels = to.as_chunks_mut::<3>().0;
    for (((pixel, &red), &green), &blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [red, green, blue];
    }
}
