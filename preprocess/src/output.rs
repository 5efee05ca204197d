//! The last step: the resized crop as upright, interleaved RGB, padded with black
//! to the side of the crop.

use crate::crop::CropAxis;
use crate::orientation::Orientation;
use crate::resize::ResizedCrop;
use crate::support::simd::{Simd, kernel};

/// Returns upright RGB, `[height, width, 3]`. `crop` is that of the upright image.
pub(crate) fn upright_rgb(
    simd: Simd,
    resized: &ResizedCrop,
    [horizontal, vertical]: [CropAxis; 2],
    orientation: Orientation,
    [full_width, full_height]: [u32; 2],
) -> Vec<u8> {
    let (full_width, full_height) = (full_width as usize, full_height as usize);
    let [width, height] = resized.size;
    let plane = height * resized.stride;
    // The flips are those of the stored image, whose axes may be swapped.
    let [flip_x, flip_y] = orientation.swap_axes([orientation.flip_x, orientation.flip_y]);
    let mut rgb = vec![0; full_width * full_height * 3];
    for y in 0..height {
        let to = ((y + vertical.padding as usize) * full_width + horizontal.padding as usize) * 3;
        let to = &mut rgb[to..][..width * 3];
        let from = if flip_y { height - 1 - y } else { y } * resized.stride;
        let row = |channel: usize| {
            &resized.samples[(channel % resized.channels) * plane + from..][..width]
        };
        interleave(simd, [row(0), row(1), row(2)], to);
        if flip_x {
            to.as_chunks_mut::<3>().0.reverse();
        }
    }
    rgb
}

kernel! {
    /// Interleaves a row of three planes.
    fn interleave = interleave_row(planes: [&[u8]; 3], to: &mut [u8])
}

#[inline(always)]
fn interleave_row([red, green, blue]: [&[u8]; 3], to: &mut [u8]) {
    let pixels = to.as_chunks_mut::<3>().0;
    for (((pixel, &red), &green), &blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [red, green, blue];
    }
}
