//! HEIC (HEIF with HEVC), decoded with the `heic-decoder` crate: the primary image,
//! also one made of tiles. The container's rotation is applied; the orientation in
//! its EXIF block repeats it and is not used.

use heic_decoder::{ColorInfo, HeifError, RgbOptions};
use rayon::ThreadPoolBuilder;

use crate::decode::decoded::DecodedImage;
use crate::decode::guard::guard;
use crate::decode::interleaved::InterleavedPixels;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::orientation::Orientation;

/// The decoder takes up to about 22 bytes per pixel, so its images are limited to
/// half of the pixels.
const SHARE: u64 = 2;

/// Decodes the primary image.
///
/// # Errors
/// `TooLarge`, `Unsupported` for other codecs than HEVC, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let info = heic_decoder::probe(bytes).map_err(convert_error)?;
    for [width, height] in [
        [info.coded_width, info.coded_height],
        [info.width, info.height],
    ] {
        let side = |length| u32::try_from(length).unwrap_or(u32::MAX);
        budget.check_share(Format::Heic, side(width), side(height), SHARE)?;
    }
    budget.spend(
        Format::Heic,
        22 * (info.coded_width * info.coded_height) as u64,
    )?;
    // Tiles are decoded in parallel, but the caller's threads are to be the only ones.
    let pool = ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|_| ImageError::broken(Format::Heic, "no thread could be started"))?;
    let image = pool.install(|| {
        guard(Format::Heic, || {
            let image = heic_decoder::decode(bytes).map_err(convert_error)?;
            let options = RgbOptions {
                color: Some(color(image.color_info)),
                ..RgbOptions::default()
            };
            image.to_rgb8_with_options(&options).map_err(convert_error)
        })
    })?;
    let pixels = InterleavedPixels {
        width: image.width as u32,
        height: image.height as u32,
        channels: 3,
        samples: image.data,
    };
    Ok(DecodedImage::full_size(pixels, Orientation::default()))
}

/// The colours of the file. As in libheif, what it does not say is the matrix of
/// BT.601 (5) and the full range.
fn color(info: Option<ColorInfo>) -> ColorInfo {
    const UNSPECIFIED: u16 = 2;
    let mut color = info.unwrap_or(ColorInfo {
        color_primaries: UNSPECIFIED,
        transfer_characteristics: UNSPECIFIED,
        matrix_coefficients: UNSPECIFIED,
        full_range: true,
    });
    if color.matrix_coefficients == UNSPECIFIED {
        color.matrix_coefficients = 5;
    }
    color
}

fn convert_error(error: HeifError) -> ImageError {
    match error {
        HeifError::Truncated { .. } => ImageError::truncated(Format::Heic),
        HeifError::Unsupported(feature) => ImageError::unsupported(format!(
            "a HEIC image with an unsupported feature ({feature})"
        )),
        error => ImageError::broken(Format::Heic, error),
    }
}
