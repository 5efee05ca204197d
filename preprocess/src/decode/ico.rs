//! ICO and CUR: the largest image of an icon or cursor, which is a PNG or a
//! bitmap.

use crate::decode::decoded::DecodedImage;
use crate::decode::{bmp, png};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Decodes the image with the most pixels; of equal ones, that with the most bits
/// per pixel.
///
/// # Errors
/// `TooLarge`, `Unsupported` or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let truncated = || ImageError::truncated(Format::Ico);
    let count = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    let entries = bytes[6..].as_chunks::<16>().0.iter().take(count);
    let largest = entries.max_by_key(|entry| {
        let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
        let bits = u16::from_le_bytes([entry[6], entry[7]]);
        (side(entry[0]) * side(entry[1]), bits)
    });
    let entry = largest.ok_or_else(truncated)?;
    let field = |at| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
    let (length, offset) = (field(8) as usize, field(12) as usize);
    let rest = bytes.get(offset..).ok_or_else(truncated)?;
    let image = &rest[..rest.len().min(length)];
    let result = match image {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png::decode(image, budget),
        [0xff, 0xd8, 0xff, ..] => {
            return Err(ImageError::unsupported("an ICO that contains a JPEG"));
        }
        _ => bmp::decode_icon(image, budget),
    };
    result.map_err(|error| match error {
        ImageError::Broken { reason, .. } => ImageError::broken(Format::Ico, reason),
        error => error,
    })
}
