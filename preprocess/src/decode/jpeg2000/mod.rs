//! JPEG 2000 (JP2 and codestreams), decoded with the `hayro-jpeg2000` crate.
//!
//! The crate is given a copy of the file that holds only what the pixels depend on
//! and whose framing is complete: `boxes` and `codestream` write it, as OpenJPEG
//! reads a file. `parts` bounds the memory that the crate takes.

mod boxes;
mod codestream;
mod faults;
mod grid;
mod parts;

use hayro_jpeg2000::{DecodeError, DecodeSettings, DecoderContext, FormatError, Image};

use crate::decode::decoded::DecodedImage;
use crate::decode::jpeg2000::boxes::Boxes;
use crate::decode::jpeg2000::codestream::Codestream;
use crate::decode::jpeg2000::faults::damaged;
use crate::decode::jpeg2000::parts::{PER_PIXEL, SHARE};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Decodes an image.
///
/// # Errors
/// `TooLarge`, `Unsupported` for rare colours and codings, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let boxes = Boxes::read(bytes)?;
    let codestream = Codestream::read(boxes.codestream, budget)?;
    let file = boxes.file(&codestream.bytes)?;
    let settings = DecodeSettings {
        // Where the packets end is not checked by the framing.
        strict: !codestream.is_complete,
        ..DecodeSettings::default()
    };
    let image = Image::new(&file, &settings).map_err(convert_error)?;
    let (width, height) = (image.width(), image.height());
    budget.check_share(Format::Jpeg2000, width, height, SHARE)?;
    let pixels = u64::from(width) * u64::from(height);
    budget.spend(Format::Jpeg2000, PER_PIXEL * pixels)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(convert_error)?;
    let channels = decoded.components().len();
    let mut samples = decoded.data_u8();
    if samples.len() as u64 != pixels * channels as u64 {
        return Err(ImageError::unsupported(
            "a JPEG 2000 image with channels of different sizes",
        ));
    }
    match (channels, boxes.is_cmyk) {
        (4, true) => samples
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .for_each(cmyk_to_rgb),
        // With more channels than colours, the rest are alpha.
        (1..=4, _) => {}
        _ => {
            return Err(ImageError::unsupported(format!(
                "a JPEG 2000 image with {channels} channels"
            )));
        }
    }
    Ok(DecodedImage::upright([width, height], channels, samples))
}

/// Converts a pixel in place, without a profile and rounded as in Pillow. The fourth
/// sample remains and is not used.
fn cmyk_to_rgb(pixel: &mut [u8; 4]) {
    let [inks @ .., black] = pixel;
    let white = u16::from(255 - *black);
    for ink in inks {
        let product = u16::from(*ink) * white + 128;
        *ink = (white - ((product + (product >> 8)) >> 8)) as u8;
    }
}

fn convert_error(error: DecodeError) -> ImageError {
    match error {
        DecodeError::Format(FormatError::Unsupported) => {
            ImageError::unsupported("a JPEG 2000 image with rare colours")
        }
        _ => damaged(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// The error for a grey codestream of this side without data, with code blocks of
    /// 4 x 4 samples.
    fn error(side: u32, tile: u32) -> ImageError {
        let mut bytes = b"\xff\x4f\xff\x51\0\x29\0\0".to_vec();
        for number in [side, side, 0, 0, tile, tile, 0, 0_u32] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(b"\0\x01\x07\x01\x01\xff\x52\0\x0c\0\0\0\x01\0\0\0\0\0\x01\xff\x90");
        let limits = Limits {
            max_pixels: 1_000_000,
        };
        decode(&bytes, &Budget::new(&limits, &|| false))
            .err()
            .unwrap()
    }

    #[test]
    fn small_parts_are_allowed_while_their_memory_is() {
        // The data is missed only after the parts are counted.
        assert!(matches!(error(300, 300), ImageError::Broken { .. }));
        let small = |error: &ImageError| error.to_string().contains("very small");
        assert!(!small(&error(300, 300)));
        assert!(small(&error(577, 577)), "{}", error(577, 577));
        assert!(small(&error(500, 2)), "{}", error(500, 2));
        assert!(matches!(error(600, 600), ImageError::TooLarge { .. }));
    }
}
