//! PNG, WebP, BMP and TIFF, through the `image` crate. What is read is what
//! Pillow's `convert("RGB")` would show: alpha is dropped, not composited, and
//! of several pages or frames only the first counts.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::error::{LimitErrorKind, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError};

use super::bitmap::{Bitmap, Picture};
use super::error::PhotoError;
use super::orientation::Orientation;
use super::sniff::Format;
use super::{Decoded, Limits};

/// Decodes `bytes`, which begin as `format` does.
///
/// # Errors
/// `TooLarge` from the header alone, `Unsupported` for kinds no decoder reads
/// (a float TIFF), `Broken` for damaged content.
pub(super) fn decode(bytes: &[u8], format: Format, limits: &Limits) -> Result<Decoded, PhotoError> {
    let failed = |error| failed(error, format, limits);
    let cursor = Cursor::new(bytes);
    match format {
        Format::Bmp => pixels(BmpDecoder::new(cursor).map_err(failed)?, format, limits),
        Format::Tiff => pixels(TiffDecoder::new(cursor).map_err(failed)?, format, limits),
        Format::WebP => pixels(WebPDecoder::new(cursor).map_err(failed)?, format, limits),
        _ => {
            let mut memory = image::Limits::no_limits();
            memory.max_alloc = Some(limits.memory());
            let decoder = PngDecoder::with_limits(cursor, memory).map_err(failed)?;
            pixels(decoder, format, limits)
        }
    }
}

fn pixels(
    mut decoder: impl ImageDecoder,
    format: Format,
    limits: &Limits,
) -> Result<Decoded, PhotoError> {
    let failed = |error| failed(error, format, limits);
    let (width, height) = decoder.dimensions();
    limits.check(format, width, height)?;
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.memory());
    decoder.set_limits(memory).map_err(failed)?;
    // A damaged EXIF block does not keep anybody from looking at the photo.
    let orientation = decoder
        .orientation()
        .map_or_else(|_| Orientation::default(), Orientation::from);

    let color = decoder.color_type();
    let channels = usize::from(color.channel_count());
    let wide = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => false,
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => true,
        _ => return Err(PhotoError::unsupported(format!("a {format} of floats"))),
    };
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(failed)?;
    if wide {
        samples = narrow(samples);
    }
    let bitmap = Bitmap {
        width,
        height,
        channels,
        samples,
    };
    Ok(Decoded {
        size: [width, height],
        scale: 1.0,
        orientation,
        picture: Picture::Bitmap(bitmap),
    })
}

/// 16 bits to 8, in place: `v / 257`, rounded down, maps 65535 to 255.
fn narrow(mut samples: Vec<u8>) -> Vec<u8> {
    for i in 0..samples.len() / 2 {
        let sample = u16::from_ne_bytes([samples[2 * i], samples[2 * i + 1]]);
        samples[i] = (sample / 257) as u8;
    }
    samples.truncate(samples.len() / 2);
    samples
}

fn failed(error: ImageError, format: Format, limits: &Limits) -> PhotoError {
    match error {
        ImageError::Unsupported(error) => match error.kind() {
            UnsupportedErrorKind::Color(color) => {
                PhotoError::unsupported(format!("a {format} with {color:?} pixels"))
            }
            UnsupportedErrorKind::GenericFeature(feature) => {
                PhotoError::unsupported(format!("a {format} of a rare kind ({feature})"))
            }
            kind => PhotoError::unsupported(format!("a {format} of a rare kind ({kind:?})")),
        },
        ImageError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            PhotoError::unsupported(format!(
                "a {format} that needs more than {} bytes to decode",
                limits.memory()
            ))
        }
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PhotoError::broken(format, "it ends before its last pixel")
        }
        error => PhotoError::broken(format, error),
    }
}
