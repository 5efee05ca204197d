//! JPEG files that the baseline decoder does not support, decoded with
//! `zune-jpeg` at full size.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::interleaved::InterleavedPixels;
use crate::error::ImageError;
use crate::format::Format;

/// Decodes the whole image. Its dimensions have been checked already.
///
/// # Errors
/// `Unsupported` for rare coding processes, `Broken` for damage.
pub(crate) fn decode(bytes: &[u8]) -> Result<InterleavedPixels, ImageError> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(convert_error)?;
    let color = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    let samples = decoder.decode().map_err(convert_error)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    Ok(InterleavedPixels {
        width: width as u32,
        height: height as u32,
        channels: color.num_components(),
        samples,
    })
}

fn convert_error(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            ImageError::unsupported(format!("a JPEG with an unsupported feature ({scheme:?})"))
        }
        error => ImageError::broken(Format::Jpeg, format!("{error:?}")),
    }
}
