//! Strips and tiles that are JPEGs (TIFF Technical Note 2). Each is made a complete
//! JPEG, whose colours are those that the TIFF says.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::tiff::layout::{Layout, broken, tag};
use crate::error::ImageError;
use crate::format::Format;

/// The samples of a strip or tile of which `rows` rows are needed.
///
/// # Errors
/// `Broken` for damage, and if the JPEG is not what the TIFF says.
pub(super) fn decode(layout: &Layout<'_>, data: &[u8], rows: u32) -> Result<Vec<u8>, ImageError> {
    let samples = match layout.is_planar {
        true => 1,
        false => layout.samples,
    };
    let stream = complete(layout, data)?;
    let space = match (samples, layout.converts_in_jpeg) {
        (1, _) => ColorSpace::Luma,
        (4, _) => ColorSpace::CMYK,
        _ => ColorSpace::RGB,
    };
    let options = DecoderOptions::default()
        .set_max_width(layout.chunk[0] as usize)
        .set_max_height(layout.chunk[1] as usize)
        .jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    let damaged = |_| broken("a strip or tile is a damaged JPEG");
    decoder.decode_headers().map_err(damaged)?;
    let size = decoder.dimensions().unwrap_or_default();
    if size.0 != layout.chunk[0] as usize || size.1 < rows as usize {
        return Err(broken("the JPEG of a strip or tile has another size"));
    }
    let pixels = decoder.decode().map_err(damaged)?;
    if pixels.len() != size.0 * size.1 * samples {
        return Err(broken("the JPEG of a strip or tile has other colours"));
    }
    Ok(pixels)
}

/// A JPEG with the tables of the directory, without application segments except
/// one that names the colours.
fn complete(layout: &Layout<'_>, data: &[u8]) -> Result<Vec<u8>, ImageError> {
    let truncated = || ImageError::truncated(Format::Tiff);
    let mut stream = vec![0xff, 0xd8];
    // Adobe's segment: version 100, no flags, the colour transform.
    stream.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
    stream.push(u8::from(layout.converts_in_jpeg));
    if let Some(tables) = layout.directory.get(tag::JPEG_TABLES) {
        copy_segments(tables.bytes(), &mut stream);
    }
    let scan = copy_segments(data, &mut stream).ok_or_else(truncated)?;
    stream.extend_from_slice(scan);
    Ok(stream)
}

/// Copies the segments before the first scan, except those of applications.
/// Returns the rest, which starts with the scan.
fn copy_segments<'a>(data: &'a [u8], to: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = data.strip_prefix(b"\xff\xd8").unwrap_or(data);
    loop {
        match rest {
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, 0xda, ..] => return Some(rest),
            [0xff, 0xd9, ..] | [] => return None,
            [0xff, marker, a, b, ..] => {
                let length = usize::from(u16::from_be_bytes([*a, *b]));
                let segment = rest.get(..2 + length)?;
                if !matches!(marker, 0xe0..=0xef) {
                    to.extend_from_slice(segment);
                }
                rest = &rest[2 + length..];
            }
            _ => return None,
        }
    }
}
