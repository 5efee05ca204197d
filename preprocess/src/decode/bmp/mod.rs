//! BMP: Windows and OS/2 bitmaps with 1 to 32 bits per pixel, also run-length
//! coded. The result is that of Pillow; alpha is not used.

mod header;
mod rle;

use crate::decode::bmp::header::{Coding, Header, Mask};
use crate::decode::decoded::DecodedImage;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// Bytes of the file header, before the bitmap header.
const FILE_HEADER: usize = 14;

/// Decodes a BMP file.
///
/// # Errors
/// `TooLarge`, `Unsupported` for compressed and CMYK pixels, or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let truncated = || ImageError::truncated(Format::Bmp);
    let bitmap = bytes.get(FILE_HEADER..).ok_or_else(truncated)?;
    let header = Header::read(bitmap)?;
    let offset = u32::from_le_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]) as usize;
    let pixels = bytes.get(offset..).ok_or_else(truncated)?;
    let after_header = match header.pixels_at(bitmap) {
        // Some writers count neither the palette nor the header.
        end if offset < FILE_HEADER + header.end => bitmap.get(end..).ok_or_else(truncated)?,
        end if offset == FILE_HEADER + header.end && !header.palette.is_empty() => {
            bitmap.get(end..).ok_or_else(truncated)?
        }
        _ => pixels,
    };
    decode_pixels(&header, after_header, budget)
}

/// Decodes the bitmap of an icon: without a file header, and with a mask of one
/// bit per pixel that counts as rows of the image.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_icon(bitmap: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let mut header = Header::read(bitmap)?;
    header.height /= 2;
    let pixels = bitmap.get(header.pixels_at(bitmap)..);
    let pixels = pixels.ok_or_else(|| ImageError::truncated(Format::Bmp))?;
    decode_pixels(&header, pixels, budget)
}

fn decode_pixels(
    header: &Header,
    pixels: &[u8],
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    let (width, height) = (header.width, header.height);
    budget.check(Format::Bmp, width, height)?;
    let count = width as usize * height as usize;
    budget.spend(Format::Bmp, 4 * count as u64)?;
    let samples = match header.coding {
        Coding::Rle { four_bits } => {
            let indices = rle::expand(pixels, width as usize, height as usize, four_bits)?;
            let mut samples = Vec::with_capacity(3 * count);
            let mut add = |row: &[u8]| {
                samples.extend(row.iter().flat_map(|&index| header.color(index)));
            };
            let rows = indices.chunks_exact(width as usize);
            // Pillow reads rows from the top as well, though BMP does not define them here.
            match header.top_down {
                true => rows.for_each(&mut add),
                false => rows.rev().for_each(&mut add),
            }
            samples
        }
        Coding::Packed { bits } => unpack(header, pixels, bits)?,
    };
    Ok(DecodedImage::upright([width, height], 3, samples))
}

/// Rows of pixels with a constant number of bits, padded to 4 bytes.
fn unpack(header: &Header, pixels: &[u8], bits: usize) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (header.width as usize, header.height as usize);
    let row_length = (width * bits).div_ceil(8);
    let stride = row_length.next_multiple_of(4);
    // The padding of the last row may be missing.
    if pixels.len() < stride * (height - 1) + row_length {
        return Err(ImageError::truncated(Format::Bmp));
    }
    let mut samples = vec![0; width * height * 3];
    for (y, row) in samples.chunks_exact_mut(width * 3).enumerate() {
        let stored = if header.top_down { y } else { height - 1 - y };
        let from = &pixels[stored * stride..][..row_length];
        let row = row.as_chunks_mut::<3>().0;
        match bits {
            24 => {
                for (to, from) in row.iter_mut().zip(from.as_chunks::<3>().0) {
                    *to = [from[2], from[1], from[0]];
                }
            }
            16 => {
                for (to, &from) in row.iter_mut().zip(from.as_chunks::<2>().0) {
                    let pixel = u32::from(u16::from_le_bytes(from));
                    *to = header.masks.map(|mask: Mask| mask.sample(pixel));
                }
            }
            32 => {
                for (to, &from) in row.iter_mut().zip(from.as_chunks::<4>().0) {
                    let pixel = u32::from_le_bytes(from);
                    *to = header.masks.map(|mask: Mask| mask.sample(pixel));
                }
            }
            _ => {
                for (x, to) in row.iter_mut().enumerate() {
                    let bit = x * bits;
                    let shift = 8 - bits - bit % 8;
                    let index = from[bit / 8] >> shift & (0xff >> (8 - bits));
                    *to = header.color(index);
                }
            }
        }
    }
    Ok(samples)
}
