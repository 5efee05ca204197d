//! PNG. The chunks that the pixels depend on are decoded with the `png` crate;
//! the others only give the orientation, whatever is wrong with them.

use std::io::Read;

use flate2::read::ZlibDecoder;
use png::{ColorType, DecodingError, InterlaceInfo, Reader, Transformations};

use crate::decode::decoded::DecodedImage;
use crate::decode::interleaved::InterleavedPixels;
use crate::decode::pieces::Pieces;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::orientation::Orientation;

/// The end chunk, which some files lack.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// The colour type of indexed pixels (PNG, 11.2.1).
const INDEXED: u8 = 3;

/// The most that is decompressed of a text chunk, in bytes. EXIF has at most
/// 64 KiB, and this text has two characters and more per byte.
const MAX_TEXT: u64 = 1 << 18;

/// Decodes a PNG. Samples of 16 bits are reduced to their high byte.
///
/// # Errors
/// `TooLarge`, `Unsupported` or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let (pieces, orientation) = split(bytes)?;
    let limits = png::Limits {
        bytes: budget.limits().max_allocation() as usize,
    };
    let mut decoder = png::Decoder::new_with_limits(Pieces::new(pieces), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(convert_error)?;
    budget.check(Format::Png, header.width, header.height)?;
    let reader = decoder.read_info().map_err(convert_error)?;
    Ok(DecodedImage::full_size(read(reader, budget)?, orientation))
}

/// Reads row by row, so that nothing after the last row is needed.
fn read(
    mut reader: Reader<Pieces<'_>>,
    budget: &Budget<'_>,
) -> Result<InterleavedPixels, ImageError> {
    let (width, height) = (reader.info().width, reader.info().height);
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
    };
    let stride = width as usize * channels;
    let mut samples = vec![0; stride * height as usize];
    if reader.info().interlaced {
        let bits = channels as u8 * 8;
        let mut row = vec![0; stride];
        // Seven passes write every pixel once.
        budget.spend(Format::Png, samples.len() as u64)?;
        for pass in 1..=7 {
            for line in 0..adam7_lines(pass, width, height) {
                let Some(InterlaceInfo::Adam7(info)) =
                    reader.read_row(&mut row).map_err(convert_error)?
                else {
                    return Err(ImageError::truncated(Format::Png));
                };
                png::expand_interlaced_row(&mut samples, stride, &row, &info, bits);
                if line % 64 == 0 {
                    budget.spend(Format::Png, 0)?;
                }
            }
        }
    } else {
        for row in samples.chunks_exact_mut(stride) {
            budget.spend(Format::Png, stride as u64)?;
            reader.read_row(row).map_err(convert_error)?;
        }
    }
    Ok(InterleavedPixels {
        width,
        height,
        channels,
        samples,
    })
}

/// The rows of a pass (PNG, 8.2): none if the pass has no columns.
fn adam7_lines(pass: u8, width: u32, height: u32) -> u32 {
    let (x, dx, y, dy) = match pass {
        1 => (0, 8, 0, 8),
        2 => (4, 8, 0, 8),
        3 => (0, 4, 4, 8),
        4 => (2, 4, 0, 4),
        5 => (0, 2, 2, 4),
        6 => (1, 2, 0, 2),
        _ => (0, 1, 1, 2),
    };
    if width.saturating_sub(x).div_ceil(dx) == 0 {
        return 0;
    }
    height.saturating_sub(y).div_ceil(dy)
}

/// The parts that the pixels depend on, and the orientation.
fn split(bytes: &[u8]) -> Result<(Vec<&[u8]>, Orientation), ImageError> {
    let mut pieces = vec![&bytes[..8]];
    let mut orientations = [None; 3];
    let mut is_cut = false;
    let mut color_type = None;
    let mut has_palette = false;
    for Chunk {
        kind,
        length,
        data,
        whole,
    } in chunks(&bytes[8..])
    {
        let found = match kind {
            b"CgBI" if pieces.len() == 1 => {
                return Err(ImageError::unsupported("an iPhone-optimised PNG (CgBI)"));
            }
            b"IHDR" if color_type.is_some() => continue,
            // Without indexed pixels a palette is only a suggestion.
            b"PLTE" if has_palette || color_type != Some(INDEXED) => continue,
            b"PLTE" if !length.is_multiple_of(3) => {
                let reason = "its palette does not have three bytes for each colour";
                return Err(ImageError::broken(Format::Png, reason));
            }
            // Transparency is left out, as alpha is not used.
            b"IHDR" | b"PLTE" | b"IDAT" => {
                has_palette |= kind == b"PLTE";
                color_type = color_type.or(data.get(9).copied().filter(|_| kind == b"IHDR"));
                pieces.push(whole);
                is_cut = whole.len() < 12 + length;
                continue;
            }
            b"eXIf" => (0, Orientation::find_in_exif(data)),
            b"tEXt" | b"zTXt" | b"iTXt" => text_orientation(kind, data),
            b"IEND" => break,
            _ => continue,
        };
        orientations[found.0] = orientations[found.0].or(found.1);
    }
    if !is_cut {
        pieces.push(END);
    }
    let orientation = orientations.into_iter().flatten().next();
    Ok((pieces, orientation.unwrap_or_default()))
}

/// A chunk, with and without its length, type and checksum.
struct Chunk<'a> {
    kind: &'a [u8],
    /// Bytes of data that the file claims.
    length: usize,
    data: &'a [u8],
    whole: &'a [u8],
}

/// The chunks of a file after its signature. The last one may be cut.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<8>()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let whole = &rest[..rest.len().min(12 + length)];
        let data = &after[..after.len().min(length)];
        let kind = &rest[4..8];
        rest = &rest[whole.len()..];
        Some(Chunk {
            kind,
            length,
            data,
            whole,
        })
    })
}

/// The orientation in a text chunk: EXIF as ImageMagick writes it (1), which is
/// hexadecimal after three lines, or XMP (2).
fn text_orientation(kind: &[u8], data: &[u8]) -> (usize, Option<Orientation>) {
    let Some((key, text)) = split_at_zero(data) else {
        return (1, None);
    };
    let is_exif = key == b"Raw profile type exif";
    if !is_exif && key != b"XML:com.adobe.xmp" {
        return (1, None);
    }
    let text = text_of(kind, text).unwrap_or_default();
    if is_exif {
        let lines = text.splitn(4, |&byte| byte == b'\n');
        let block = lines.last().map(from_hexadecimal).unwrap_or_default();
        (1, Orientation::find_in_exif(&block))
    } else {
        (2, Orientation::find_in_xmp(&text))
    }
}

/// The text of a chunk after its keyword (PNG, 11.3.3), decompressed.
fn text_of(kind: &[u8], after_key: &[u8]) -> Option<Vec<u8>> {
    let (is_compressed, text) = match kind {
        b"tEXt" => (false, after_key),
        b"zTXt" => (true, after_key.get(1..)?),
        _ => {
            let (flags, rest) = after_key.split_first_chunk::<2>()?;
            let (_language, rest) = split_at_zero(rest)?;
            (flags[0] != 0, split_at_zero(rest)?.1)
        }
    };
    if !is_compressed {
        return Some(text[..text.len().min(MAX_TEXT as usize)].to_vec());
    }
    let mut plain = Vec::new();
    // What precedes damage may contain the orientation.
    let _ = ZlibDecoder::new(text)
        .take(MAX_TEXT)
        .read_to_end(&mut plain);
    Some(plain)
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn from_hexadecimal(text: &[u8]) -> Vec<u8> {
    let digits = text.iter().filter_map(|&c| (c as char).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect()
}

fn convert_error(error: DecodingError) -> ImageError {
    let reason = match error {
        DecodingError::IoError(_) => return ImageError::truncated(Format::Png),
        DecodingError::LimitsExceeded => "a row needs more memory than the limit allows",
        // The texts of the crate name chunks in the notation of Rust.
        error if error.to_string().starts_with("CRC") => "a checksum of its data is wrong",
        _ => "its header or its compressed data is damaged",
    };
    ImageError::broken(Format::Png, reason)
}
