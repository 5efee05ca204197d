//! JPEG: baseline, extended sequential and progressive with 8 bits and Huffman
//! codes, bit-exact with libjpeg-turbo at full size. Only the part inside the crop
//! is transformed, at a reduced size if the image is much larger than needed.
//!
//! | step | file |
//! |---|---|
//! | markers, headers, tables | `markers.rs`, `header.rs`, `tables.rs` |
//! | which blocks are needed | `layout.rs` |
//! | scans | `frame.rs`: `sequential.rs`, `progressive.rs` |
//! | Huffman codes | `bits.rs`, `huffman.rs`, `zigzag.rs`, `block.rs`, `bands.rs` |
//! | coefficients of progressive images | `coefficients.rs` |
//! | inverse DCT | `transform.rs`: `idct.rs`, `avx2.rs`, `scaled.rs` |
//! | upsampling and colours | `planes.rs`, `color.rs` |
//! | streams inside TIFF | `abbreviated.rs` |

pub(crate) mod abbreviated;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod bands;
mod bits;
mod block;
mod coefficients;
pub(crate) mod color;
mod frame;
mod header;
mod huffman;
mod idct;
#[cfg(test)]
mod idct_tests;
mod layout;
mod markers;
pub(crate) mod planes;
mod progressive;
mod scaled;
mod sequential;
mod tables;
mod transform;
mod zigzag;

use weights::Interpolation;

use crate::crop::{CropAxis, Target};
use crate::decode::decoded::{DecodedImage, DecodedPixels};
use crate::decode::jpeg::frame::decode_frame;
use crate::decode::jpeg::header::JpegReader;
use crate::decode::jpeg::layout::Layout;
use crate::decode::jpeg::planes::JpegPlanes;
use crate::error::ImageError;
use crate::filter::source_range;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::Simd;

/// Decodes a JPEG, at 1/2, 1/4 or 1/8 of its size if that is still at least twice
/// the size of `target`.
///
/// # Errors
/// `TooLarge` if the header exceeds the limit, `Unsupported` for rare coding
/// processes, `Broken` for damage, `Cancelled`.
pub(crate) fn decode(
    simd: Simd,
    bytes: &[u8],
    target: Target<'_>,
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    let (mut reader, frame, scan) = JpegReader::open(bytes)?;
    let [width, height] = frame.size;
    budget.check(Format::Jpeg, width, height)?;
    let color = reader.color()?;
    let orientation = reader.orientation();
    let upright = target.axes(orientation.swap_axes(frame.size));
    let crop = orientation.stored_crop(upright);
    let filter = target.filter();
    let points = match filter {
        // This filter copies single pixels, which a reduced image averages.
        Interpolation::Nearest => 8,
        _ => points_per_block(frame.size, crop),
    };
    let scale = points as f64 / 8.0;
    let mut layout = Layout::new(&frame, points)?;
    layout.crop(std::array::from_fn(|axis| {
        let length = f64::from(frame.size[axis]) * scale;
        source_range(crop[axis], length, layout.size[axis], filter)
    }));
    let planes = decode_frame(simd, &mut reader, &layout, scan, budget)?;
    Ok(DecodedImage {
        size: frame.size,
        scale,
        orientation,
        pixels: DecodedPixels::JpegPlanes(JpegPlanes::new(layout.size, planes, color)),
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
