//! JPEG. Baseline files use the decoder in this folder: it decodes only the part
//! inside the crop, at a reduced size if the image is much larger than needed.
//! Other files (progressive, CMYK) use `zune-jpeg`.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod baseline;
mod bits;
mod color;
mod components;
mod fallback;
mod header;
mod huffman;
mod idct;
#[cfg(test)]
mod idct_tests;
pub(crate) mod planes;
mod scaled;
mod scan;

use weights::{Interpolation, Preprocessing};

use crate::crop::{CropAxis, crop_axes};
use crate::decode::decoded::{DecodedImage, DecodedPixels};
use crate::decode::jpeg::header::has_end_marker;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::support::simd::Simd;

/// Decodes a JPEG, at 1/2, 1/4 or 1/8 of its size if that is still at least twice
/// the size that `preprocessing` resizes to.
///
/// # Errors
/// `TooLarge` if the header exceeds the limit, `Unsupported` for rare coding
/// processes, `Broken` for damage, including a missing end marker.
pub(crate) fn decode(
    simd: Simd,
    bytes: &[u8],
    preprocessing: &Preprocessing,
    limits: &Limits,
) -> Result<DecodedImage, ImageError> {
    let header = header::parse(bytes)?;
    let size = [header.width, header.height];
    limits.check(Format::Jpeg, header.width, header.height)?;
    let [width, height] = header.orientation.swap_axes(size);
    let upright = crop_axes(width, height, preprocessing);
    let crop = header.orientation.stored_crop(upright);
    let filter = preprocessing.interpolation;
    let points = match filter {
        // This filter copies single pixels, which a reduced image averages.
        Interpolation::Nearest => 8,
        _ => points_per_block(size, crop),
    };
    let (pixels, points) = match baseline::decode(simd, &header, crop, points, filter) {
        Some(planes) => (DecodedPixels::JpegPlanes(planes?), points),
        None if has_end_marker(header.data) => {
            (DecodedPixels::Interleaved(fallback::decode(bytes)?), 8)
        }
        None => return Err(ImageError::truncated(Format::Jpeg)),
    };
    Ok(DecodedImage {
        size,
        scale: points as f64 / 8.0,
        orientation: header.orientation,
        pixels,
    })
}

/// The number of points per axis to compute of each 8 x 8 block: the smallest
/// with which both sides of the decoded image are at least twice those of the
/// resized image, or 8.
fn points_per_block(size: [u32; 2], crop: [CropAxis; 2]) -> usize {
    let is_enough = |points: &usize| {
        let is_enough_along = |(pixels, axis): (u32, CropAxis)| {
            u64::from(pixels) * *points as u64 / 8 >= 2 * axis.resized
        };
        size.into_iter().zip(crop).all(is_enough_along)
    };
    [1, 2, 4].into_iter().find(is_enough).unwrap_or(8)
}
