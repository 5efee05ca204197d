//! PNG, WebP, BMP and TIFF, decoded with the `image` crate. The result is that of
//! Pillow's `convert("RGB")`: alpha is dropped rather than composited, and only
//! the first page or frame is decoded.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::error::{LimitErrorKind, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError as CodecError};

use crate::decode::decoded::DecodedImage;
use crate::decode::interleaved::InterleavedPixels;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation::Orientation;

/// Decodes `bytes`, which start with the signature of `format`.
///
/// # Errors
/// `TooLarge` if the header exceeds the limit, `Unsupported` for features that
/// the decoder does not implement (such as a float TIFF), `Broken` for damage.
pub(crate) fn decode(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<DecodedImage, ImageError> {
    let convert = |error| convert_error(error, format, limits);
    let cursor = Cursor::new(bytes);
    match format {
        Format::Bmp => read_image(BmpDecoder::new(cursor).map_err(convert)?, format, limits),
        Format::Tiff => read_image(TiffDecoder::new(cursor).map_err(convert)?, format, limits),
        Format::WebP => read_image(WebPDecoder::new(cursor).map_err(convert)?, format, limits),
        _ => {
            let decoder = PngDecoder::with_limits(cursor, codec_limits(limits));
            read_image(decoder.map_err(convert)?, format, limits)
        }
    }
}

fn read_image(
    mut decoder: impl ImageDecoder,
    format: Format,
    limits: &Limits,
) -> Result<DecodedImage, ImageError> {
    let convert = |error| convert_error(error, format, limits);
    let (width, height) = decoder.dimensions();
    limits.check(format, width, height)?;
    decoder.set_limits(codec_limits(limits)).map_err(convert)?;
    // A damaged EXIF block does not make the pixels unreadable.
    let orientation = decoder
        .orientation()
        .map_or_else(|_| Orientation::default(), Orientation::from);

    let color = decoder.color_type();
    let channels = usize::from(color.channel_count());
    let is_16_bit = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => false,
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => true,
        _ => {
            return Err(ImageError::unsupported(format!(
                "a {format} with floating-point pixels"
            )));
        }
    };
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(convert)?;
    if is_16_bit {
        samples = to_8_bits(samples);
    }
    let pixels = InterleavedPixels {
        width,
        height,
        channels,
        samples,
    };
    Ok(DecodedImage::full_size(pixels, orientation))
}

/// The limits in the form of the `image` crate.
fn codec_limits(limits: &Limits) -> image::Limits {
    let mut codec = image::Limits::no_limits();
    codec.max_alloc = Some(limits.max_allocation());
    codec
}

/// Converts 16-bit samples to 8 bits in place: `v / 257`, rounded down, which
/// maps 65535 to 255.
fn to_8_bits(mut samples: Vec<u8>) -> Vec<u8> {
    for i in 0..samples.len() / 2 {
        let sample = u16::from_ne_bytes([samples[2 * i], samples[2 * i + 1]]);
        samples[i] = (sample / 257) as u8;
    }
    samples.truncate(samples.len() / 2);
    samples
}

fn convert_error(error: CodecError, format: Format, limits: &Limits) -> ImageError {
    match error {
        CodecError::Unsupported(error) => match error.kind() {
            UnsupportedErrorKind::Color(color) => {
                ImageError::unsupported(format!("a {format} with {color:?} pixels"))
            }
            UnsupportedErrorKind::GenericFeature(feature) => ImageError::unsupported(format!(
                "a {format} with an unsupported feature ({feature})"
            )),
            kind => ImageError::unsupported(format!(
                "a {format} with an unsupported feature ({kind:?})"
            )),
        },
        CodecError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            ImageError::unsupported(format!(
                "a {format} that needs more than {} bytes to decode",
                limits.max_allocation()
            ))
        }
        CodecError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::truncated(format)
        }
        error => ImageError::broken(format, error),
    }
}
