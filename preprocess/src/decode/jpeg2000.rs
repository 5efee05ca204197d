//! JPEG 2000 (JP2 and codestreams), decoded with the `hayro-jpeg2000` crate.

use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};

use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// The decoder takes about 28 bytes per pixel, so its images are limited to a third
/// of the pixels.
const SHARE: u64 = 3;

/// Decodes an image.
///
/// # Errors
/// `TooLarge`, `Unsupported` for colours other than grey and RGB, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    check_structure(bytes)?;
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
    Ok(DecodedImage::upright([width, height], channels, samples))
}

/// The fewest samples in a code block, and the fewest in each direction of a
/// precinct, as powers of two. The decoder takes about 600 bytes for each of them.
/// Encoders use 6 + 6 and 7 or more.
const LEAST_BLOCK: u8 = 8;
const LEAST_PRECINCT: u8 = 5;

/// The most components that are decoded.
const MAX_COMPONENTS: u16 = 5;

/// Refuses images whose parts are so many that they take more memory than their
/// pixels. The marker segments are found by their codes, wherever they are, so that
/// none that the decoder finds is missed.
fn check_structure(bytes: &[u8]) -> Result<(), ImageError> {
    let sizes = memchr::memmem::find_iter(bytes, b"\xff\x4f\xff\x51");
    let is_large = |at: usize| {
        let count = bytes.get(at + 40..at + 42);
        count.is_some_and(|count| u16::from_be_bytes([count[0], count[1]]) > MAX_COMPONENTS)
    };
    if sizes.into_iter().any(is_large) {
        let found = "a JPEG 2000 image with more than five components";
        return Err(ImageError::unsupported(found));
    }
    let codings = memchr::memchr_iter(0xff, bytes).filter(|&at| has_small_parts(&bytes[at..]));
    match codings.count() {
        0 => Ok(()),
        _ => Err(ImageError::unsupported(
            "a JPEG 2000 image with very small precincts or code blocks",
        )),
    }
}

/// Whether a marker segment COD or COC (ISO/IEC 15444-1, A.6.1 and A.6.2) starts
/// here, with valid values and small precincts or code blocks.
fn has_small_parts(segment: &[u8]) -> bool {
    let (style, parameters) = match segment {
        [
            0xff,
            0x52,
            _,
            _,
            style,
            0..=4,
            0,
            1..=32,
            _,
            parameters @ ..,
        ] => (style, parameters),
        [0xff, 0x53, _, _, _, style, parameters @ ..] => (style, parameters),
        _ => return false,
    };
    let &[
        levels @ 0..=32,
        width @ 0..=8,
        height @ 0..=8,
        _,
        0 | 1,
        ref precincts @ ..,
    ] = parameters
    else {
        return false;
    };
    let is_small = |size: &u8| size & 15 < LEAST_PRECINCT || size >> 4 < LEAST_PRECINCT;
    let mut precincts = precincts.iter().take(usize::from(levels) + 1);
    // The exponents of code blocks are stored without 2.
    width + height + 4 < LEAST_BLOCK || (style & 1 == 1 && precincts.any(is_small))
}

fn damaged(_: hayro_jpeg2000::DecodeError) -> ImageError {
    ImageError::broken(Format::Jpeg2000, "its data is damaged or incomplete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_few_samples_are_refused() {
        // COD: precincts defined, LRCP, one layer, colour transform, one level.
        let coding = |block: u8, precinct: u8| {
            let parameters = [1, block, block, 0, 1, precinct, precinct];
            [&[0xff, 0x52, 0, 14, 1, 0, 0, 1, 1][..], &parameters].concat()
        };
        for (block, precinct, is_allowed) in [
            (4, 0x88, true),
            (2, 0x55, true),
            (1, 0x88, false),
            (4, 0x11, false),
            (4, 0x81, false),
            (4, 0x18, false),
        ] {
            let result = check_structure(&coding(block, precinct));
            assert_eq!(result.is_ok(), is_allowed, "{block}, {precinct:02x}");
        }
        let mut size = [0; 42];
        size[..4].copy_from_slice(b"\xff\x4f\xff\x51");
        size[41] = 4;
        assert!(check_structure(&size).is_ok());
        size[40] = 1;
        assert!(check_structure(&size).is_err());
    }
}
