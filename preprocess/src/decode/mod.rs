//! Decoding. JPEG and GIF are in separate modules; PNG, WebP, BMP and TIFF are
//! decoded with the `image` crate.

mod codecs;
pub(crate) mod decoded;
mod gif;
mod interleaved;
pub(crate) mod jpeg;

use weights::Preprocessing;

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::support::simd::Simd;

/// Decodes `bytes`, which start with the signature of `format`. Of a baseline
/// JPEG, only the part inside the crop of `preprocessing` is decoded.
///
/// # Errors
/// `TooLarge`, `Unsupported` or `Broken`.
pub(crate) fn decode(
    simd: Simd,
    bytes: &[u8],
    format: Format,
    preprocessing: &Preprocessing,
    limits: &Limits,
) -> Result<DecodedImage, ImageError> {
    match format {
        Format::Jpeg => jpeg::decode(simd, bytes, preprocessing, limits),
        Format::Gif => gif::decode(bytes, limits),
        format => codecs::decode(bytes, format, limits),
    }
}
