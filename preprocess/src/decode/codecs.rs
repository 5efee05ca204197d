//! PNM and QOI, decoded with the `image` crate.

use std::io::{Cursor, Read};

use image::codecs::{pnm::PnmDecoder, qoi::QoiDecoder};
use image::error::{LimitErrorKind, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError as CodecError};

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// The end of a QOI.
const QOI_END: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 1];

/// Decodes `bytes`, which start with the signature of `format`. Samples of 16
/// bits are reduced to their high byte.
///
/// # Errors
/// `TooLarge`, `Unsupported` or `Broken`.
pub(crate) fn decode(
    bytes: &[u8],
    format: Format,
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    let convert = |error| convert_error(error, format);
    match format {
        Format::Qoi => {
            // The end mark may be missing.
            let cursor = Cursor::new(bytes).chain(QOI_END);
            read_image(QoiDecoder::new(cursor).map_err(convert)?, format, budget)
        }
        _ => {
            let decoder = PnmDecoder::new(Cursor::new(bytes)).map_err(convert)?;
            read_image(decoder, format, budget)
        }
    }
}

fn read_image(
    mut decoder: impl ImageDecoder,
    format: Format,
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    let convert = |error| convert_error(error, format);
    let (width, height) = decoder.dimensions();
    budget.check(format, width, height)?;
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(budget.limits().max_allocation());
    decoder.set_limits(limits).map_err(convert)?;

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
    budget.spend(format, decoder.total_bytes())?;
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(convert)?;
    if is_16_bit {
        samples = high_bytes(samples);
    }
    Ok(DecodedImage::upright([width, height], channels, samples))
}

/// The high bytes of 16-bit samples, in place.
fn high_bytes(mut samples: Vec<u8>) -> Vec<u8> {
    for i in 0..samples.len() / 2 {
        let sample = u16::from_ne_bytes([samples[2 * i], samples[2 * i + 1]]);
        samples[i] = (sample >> 8) as u8;
    }
    samples.truncate(samples.len() / 2);
    samples
}

fn convert_error(error: CodecError, format: Format) -> ImageError {
    match error {
        CodecError::Unsupported(error) => {
            let feature = match error.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => feature,
                _ => "its kind of pixels".to_string(),
            };
            ImageError::unsupported(format!(
                "a {format} with an unsupported feature ({feature})"
            ))
        }
        CodecError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            ImageError::broken(format, "its pixels need more memory than the limit allows")
        }
        CodecError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::truncated(format)
        }
        _ => ImageError::broken(format, "its header or its pixel data is damaged"),
    }
}
