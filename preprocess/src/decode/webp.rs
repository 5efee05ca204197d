//! WebP. The container (RFC 9649) is read here, so that its other chunks are neither
//! needed nor expanded. Lossy frames are decoded by `vp8/`, lossless ones with the
//! `image-webp` crate. Alpha is not used and not decoded.

use image_webp::{DecodingError, WebPDecoder};

use crate::decode::decoded::{DecodedImage, DecodedPixels};
use crate::decode::interleaved::InterleavedPixels;
use crate::decode::pieces::Pieces;
use crate::decode::vp8;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::orientation::Orientation;
use crate::support::simd::Simd;

/// Flags of the extended header (RFC 9649, 2.7.1).
const HAS_EXIF: u8 = 8;
const HAS_XMP: u8 = 4;

/// Decodes the first frame. Canvas pixels outside it are black, as in Pillow.
///
/// # Errors
/// `TooLarge` or `Broken`.
pub(crate) fn decode(
    simd: Simd,
    bytes: &[u8],
    budget: &Budget<'_>,
) -> Result<DecodedImage, ImageError> {
    let container = Container::read(bytes)?;
    let frame = container.frame;
    let size = bitstream_size(frame.kind, frame.data)?;
    budget.check(Format::WebP, size[0], size[1])?;
    if frame.size.is_some_and(|claimed| claimed != size) {
        return Err(ImageError::broken(
            Format::WebP,
            "its container and its pixel data differ in size",
        ));
    }
    let canvas = frame.canvas.unwrap_or(size);
    budget.check(Format::WebP, canvas[0], canvas[1])?;
    let pixels = match frame.kind {
        b"VP8L" => DecodedPixels::Interleaved(lossless(frame.data, size, budget)?),
        _ => DecodedPixels::YuvPlanes(vp8::decode(simd, frame.data, size, budget)?),
    };
    let pixels = match pixels {
        pixels if canvas == size => pixels,
        DecodedPixels::YuvPlanes(planes) => {
            DecodedPixels::Interleaved(place(&planes.interleaved(simd), canvas, frame.offset)?)
        }
        DecodedPixels::Interleaved(pixels) => {
            DecodedPixels::Interleaved(place(&pixels, canvas, frame.offset)?)
        }
        pixels @ DecodedPixels::JpegPlanes(_) => pixels,
    };
    Ok(DecodedImage {
        size: canvas,
        scale: 1.0,
        orientation: container.orientation,
        pixels,
    })
}

/// What the container says.
struct Container<'a> {
    frame: Frame<'a>,
    orientation: Orientation,
}

/// The first frame.
#[derive(Clone, Copy)]
struct Frame<'a> {
    /// `VP8 ` or `VP8L`.
    kind: &'a [u8; 4],
    data: &'a [u8],
    /// Its size according to the container, if that says one.
    size: Option<[u32; 2]>,
    /// The size of the canvas of an animation.
    canvas: Option<[u32; 2]>,
    /// Its position on the canvas.
    offset: [u32; 2],
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut canvas = None;
        let mut frame = None;
        let (mut exif, mut xmp) = (None, None);
        let mut flags = 0;
        for chunk in chunks(&bytes[12..]) {
            match chunk.kind {
                b"VP8X" if canvas.is_none() => {
                    canvas = size_at(chunk.data, 4);
                    flags = chunk.data.first().copied().unwrap_or(0);
                }
                b"VP8 " | b"VP8L" if frame.is_none() => {
                    frame = Some(Frame {
                        size: canvas,
                        canvas: None,
                        ..Frame::of(&chunk)?
                    });
                }
                b"ANMF" if frame.is_none() => {
                    let inner = chunks(chunk.data.get(16..).unwrap_or_default())
                        .find(|inner| matches!(inner.kind, b"VP8 " | b"VP8L"));
                    // As in libwebp, frames without pixel data are passed over.
                    let Some(inner) = inner else { continue };
                    let offset = [0, 3].map(|at| 2 * uint24(&chunk.data[at..]));
                    // As in libwebp, the size of the pixel data counts, whatever size
                    // the frame claims.
                    frame = Some(Frame {
                        size: None,
                        canvas,
                        offset,
                        ..Frame::of(&inner)?
                    });
                }
                // As in libwebp, chunks without their flag are not there.
                b"EXIF" if flags & HAS_EXIF != 0 => {
                    exif = exif.or_else(|| Orientation::find_in_exif(chunk.data));
                }
                b"XMP " if flags & HAS_XMP != 0 => {
                    xmp = xmp.or_else(|| Orientation::find_in_xmp(chunk.data));
                }
                _ => {}
            }
        }
        // The orientation may have been in the part that a cut file has lost.
        let length = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let is_cut = bytes.len() < length as usize + 8;
        if flags & HAS_EXIF != 0 && exif.is_none() && is_cut {
            return Err(ImageError::truncated(Format::WebP));
        }
        Ok(Self {
            frame: frame.ok_or_else(|| ImageError::truncated(Format::WebP))?,
            orientation: exif.or(xmp).unwrap_or_default(),
        })
    }
}

impl<'a> Frame<'a> {
    fn of(chunk: &Chunk<'a>) -> Result<Self, ImageError> {
        if chunk.data.len() < chunk.length {
            return Err(ImageError::truncated(Format::WebP));
        }
        Ok(Self {
            kind: chunk.kind,
            data: chunk.data,
            size: None,
            canvas: None,
            offset: [0; 2],
        })
    }
}

struct Chunk<'a> {
    kind: &'a [u8; 4],
    /// Bytes of data that the file claims.
    length: usize,
    data: &'a [u8],
}

/// The chunks in `rest`. The last one may be cut.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = &after[..after.len().min(length)];
        rest = after.get(length + length % 2..).unwrap_or_default();
        Some(Chunk { kind, length, data })
    })
}

/// Two numbers of 24 bits that are one less than a width and a height.
fn size_at(data: &[u8], at: usize) -> Option<[u32; 2]> {
    let size = data.get(at..at + 6)?;
    Some([1 + uint24(size), 1 + uint24(&size[3..])])
}

fn uint24(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

/// Width and height in the header of the bitstream, which the decoder uses.
fn bitstream_size(kind: &[u8; 4], data: &[u8]) -> Result<[u32; 2], ImageError> {
    match (kind, data) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let size = [[*w0, *w1], [*h0, *h1]];
            Ok(size.map(|bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff)))
        }
        (b"VP8L", [0x2f, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Ok([bits, bits >> 14].map(|bits| 1 + (bits & 0x3fff)))
        }
        _ => Err(ImageError::broken(
            Format::WebP,
            "the header of its pixel data is damaged",
        )),
    }
}

/// Decodes a lossless frame as a file that contains nothing else.
fn lossless(
    data: &[u8],
    [width, height]: [u32; 2],
    budget: &Budget<'_>,
) -> Result<InterleavedPixels, ImageError> {
    // Pixels of the decoder, and the result.
    budget.spend(Format::WebP, u64::from(width) * u64::from(height) * 7)?;
    let size = (data.len() as u32).to_le_bytes();
    let riff_size = (data.len() as u32).saturating_add(12).to_le_bytes();
    let head = [&b"RIFF"[..], &riff_size, b"WEBPVP8L", &size].concat();
    let mut start = data[..5].to_vec();
    // With the flag for alpha, the decoder writes its pixels into our buffer instead
    // of one of its own.
    start[4] |= 0x10;
    let pieces = [&head[..], &start, &data[5..], &[0]];
    let mut decoder = WebPDecoder::new(Pieces::new(pieces)).map_err(convert_error)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut samples = vec![0; width as usize * height as usize * channels];
    decoder.read_image(&mut samples).map_err(convert_error)?;
    Ok(InterleavedPixels {
        width,
        height,
        channels,
        samples,
    })
}

/// Places the first frame of an animation on its canvas.
fn place(
    frame: &InterleavedPixels,
    [width, height]: [u32; 2],
    [left, top]: [u32; 2],
) -> Result<InterleavedPixels, ImageError> {
    if left + frame.width > width || top + frame.height > height {
        return Err(ImageError::broken(
            Format::WebP,
            "its first frame extends beyond the canvas",
        ));
    }
    let mut samples = vec![0; width as usize * height as usize * 3];
    let to_stride = width as usize * 3;
    let from_stride = frame.width as usize * frame.channels;
    let rows = samples.chunks_exact_mut(to_stride).skip(top as usize);
    for (to, from) in rows.zip(frame.samples.chunks_exact(from_stride)) {
        let to = &mut to[left as usize * 3..];
        for (to, from) in to
            .chunks_exact_mut(3)
            .zip(from.chunks_exact(frame.channels))
        {
            to.copy_from_slice(&from[..3]);
        }
    }
    Ok(InterleavedPixels {
        width,
        height,
        channels: 3,
        samples,
    })
}

fn convert_error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(_) => ImageError::truncated(Format::WebP),
        _ => ImageError::broken(Format::WebP, "its pixel data is damaged"),
    }
}
