//! JPEG: photos near the network's size through `zune-jpeg`, far larger ones
//! through a decoder of our own that makes the small picture at once, and tiny
//! ones through one that is exact.

mod coded;
mod exact;
mod header;
mod huffman;
mod idct;
mod reduced;
mod upsample;

use weights::{Interpolation, Recipe};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::crop::{self, Side};
use super::error::PhotoError;
use super::resize::Bitmap;
use super::sniff::Format;
use super::{Decoded, Limits};

/// Decodes a JPEG, at a half, a quarter or an eighth of its size where that
/// still leaves twice the resolution that `recipe` resizes to.
///
/// # Errors
/// `TooLarge` from the header alone, `Unsupported` for coding processes that
/// photos do not use, `Broken` for damage, a missing end included.
pub(super) fn decode(
    bytes: &[u8],
    recipe: &Recipe,
    limits: &Limits,
) -> Result<Decoded, PhotoError> {
    let header = header::parse(bytes)?;
    let size = [header.width, header.height];
    limits.check(Format::Jpeg, header.width, header.height)?;
    let [width, height] = header.orientation.swap(size);
    let sides = header
        .orientation
        .stored(crop::sides(width, height, recipe));
    let points = match recipe.interpolation {
        // Takes single pixels, which a smaller picture does not have.
        Interpolation::Nearest => 8,
        _ => points(size, sides),
    };
    let (bitmap, scale) = if let Some(scan) = reduced::Scan::new(&header, points) {
        (scan.decode()?, points as f64 / 8.0)
    } else if let Some(bitmap) = exact::decode(&header) {
        (bitmap?, 1.0)
    } else if header::is_whole(header.data) {
        (whole(bytes)?, 1.0)
    } else {
        let reason = "it ends before its last pixel";
        return Err(PhotoError::broken(Format::Jpeg, reason));
    };
    Ok(Decoded {
        size,
        scale,
        orientation: header.orientation,
        bitmap,
    })
}

/// How many points across and down to make of an 8 x 8 block, so that the
/// picture still has twice the pixels of the resize, both ways.
fn points(size: [u32; 2], sides: [Side; 2]) -> usize {
    let enough = |points: &usize| {
        let fits = |(pixels, side): (u32, Side)| {
            u64::from(pixels) * *points as u64 / 8 >= 2 * side.resized
        };
        size.into_iter().zip(sides).all(fits)
    };
    [1, 2, 4].into_iter().find(enough).unwrap_or(8)
}

fn whole(bytes: &[u8]) -> Result<Bitmap, PhotoError> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let color = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    let samples = decoder.decode().map_err(failed)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    Ok(Bitmap {
        width: width as u32,
        height: height as u32,
        channels: color.num_components(),
        samples,
    })
}

fn failed(error: DecodeErrors) -> PhotoError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            PhotoError::unsupported(format!("a JPEG of a rare kind ({scheme:?})"))
        }
        error => PhotoError::broken(Format::Jpeg, format!("{error:?}")),
    }
}
