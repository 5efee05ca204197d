//! Decoding: one module for each format, and a budget that bounds them all.

mod bmp;
pub(crate) mod decoded;
mod gif;
mod guard;
mod heic;
mod ico;
mod interleaved;
pub(crate) mod jpeg;
mod jpeg2000;
mod jxl;
mod pieces;
mod png;
pub(crate) mod pnm;
mod qoi;
mod tiff;
pub(crate) mod vp8;
mod webp;

use crate::crop::Target;
use crate::decode::decoded::DecodedImage;
use crate::decode::guard::guard;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::Simd;

pub use guard::is_decoding;

/// Decodes `bytes`, which start with the signature of `format`. Of a JPEG,
/// only the part inside the crop of `target` is decoded.
///
/// # Errors
/// Any [`ImageError`] except `Empty`. A panic of a decoder is `Broken`.
pub(crate) fn decode(
    simd: Simd,
    bytes: &[u8],
    format: Format,
    target: Target<'_>,
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    guard(format, || match format {
        Format::Jpeg => jpeg::decode(simd, bytes, target, budget),
        Format::Png => png::decode(bytes, budget),
        Format::WebP => webp::decode(simd, bytes, budget),
        Format::Gif => gif::decode(bytes, budget),
        Format::Bmp => bmp::decode(bytes, budget),
        Format::Tiff => tiff::decode(bytes, budget),
        Format::Heic => heic::decode(bytes, budget),
        Format::JpegXl => jxl::decode(bytes, budget),
        Format::Jpeg2000 => jpeg2000::decode(bytes, budget),
        Format::Ico => ico::decode(bytes, budget),
        Format::Pnm => pnm::decode(bytes, budget),
        Format::Qoi => qoi::decode(bytes, budget),
    })
}
