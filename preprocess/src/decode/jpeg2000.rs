//! JPEG 2000 (JP2 and codestreams), decoded with the `hayro-jpeg2000` crate.

use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};

use crate::decode::decoded::DecodedImage;
use crate::decode::interleaved::InterleavedPixels;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::orientation::Orientation;

/// The decoder takes about 28 bytes per pixel, so its images are limited to a third
/// of the pixels.
const SHARE: u64 = 3;

/// Decodes an image.
///
/// # Errors
/// `TooLarge`, `Unsupported` for colours other than grey and RGB, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let settings = DecodeSettings {
        strict: true,
        ..DecodeSettings::default()
    };
    let image = Image::new(bytes, &settings).map_err(damaged)?;
    let (width, height) = (image.width(), image.height());
    budget.check_share(Format::Jpeg2000, width, height, SHARE)?;
    let colors = match image.color_space() {
        ColorSpace::Gray => 1,
        ColorSpace::RGB => 3,
        ColorSpace::CMYK => return Err(ImageError::unsupported("a JPEG 2000 image in CMYK")),
        other => usize::from(other.num_channels()),
    };
    let channels = colors + usize::from(image.has_alpha());
    if !matches!(colors, 1 | 3) {
        return Err(ImageError::unsupported(format!(
            "a JPEG 2000 image with {channels} channels"
        )));
    }
    budget.spend(Format::Jpeg2000, 28 * u64::from(width) * u64::from(height))?;
    let mut context = DecoderContext::default();
    let samples = image.decode(&mut context).map_err(damaged)?.data_u8();
    if samples.len() != width as usize * height as usize * channels {
        return Err(ImageError::unsupported(
            "a JPEG 2000 image with channels of different sizes",
        ));
    }
    let pixels = InterleavedPixels {
        width,
        height,
        channels,
        samples,
    };
    Ok(DecodedImage::full_size(pixels, Orientation::default()))
}

fn damaged(_: hayro_jpeg2000::DecodeError) -> ImageError {
    ImageError::broken(Format::Jpeg2000, "its data is damaged or incomplete")
}
