//! JPEG: baseline photos through a decoder of our own that makes only what the
//! crop keeps, and at once the small picture of far larger ones; the rest
//! (progressive, CMYK) through `zune-jpeg`.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod bits;
mod coded;
mod header;
mod huffman;
mod islow;
mod planes;
mod scaled;
mod scan;

use std::array::from_fn;

use weights::{Interpolation, Recipe};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::bitmap::{Bitmap, Picture};
use super::crop::{self, Side};
use super::error::PhotoError;
use super::filter::reach;
use super::simd::Level;
use super::sniff::Format;
use super::{Decoded, Limits};
use header::Header;
pub(super) use planes::{Planes, columns};

/// Decodes a JPEG, at a half, a quarter or an eighth of its size where that
/// still leaves twice the resolution that `recipe` resizes to.
///
/// # Errors
/// `TooLarge` from the header alone, `Unsupported` for coding processes that
/// photos do not use, `Broken` for damage, a missing end included.
pub(super) fn decode(
    level: Level,
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
    let (picture, points) = match baseline(level, &header, sides, points, recipe.interpolation) {
        Some(planes) => (Picture::Planes(planes?), points),
        None if header::is_whole(header.data) => (Picture::Bitmap(whole(bytes)?), 8),
        None => return Err(scan::broken(scan::ENDS)),
    };
    Ok(Decoded {
        size,
        scale: points as f64 / 8.0,
        orientation: header.orientation,
        picture,
    })
}

/// Decodes what the crop keeps. `None` where our decoder does not apply.
fn baseline(
    level: Level,
    header: &Header,
    sides: [Side; 2],
    points: usize,
    filter: Interpolation,
) -> Option<Result<Planes, PhotoError>> {
    let all = coded::components(header)?;
    let full = [header.width, header.height].map(f64::from);
    let lengths = full.map(|length| length * points as f64 / 8.0);
    let size = lengths.map(|length| length.ceil() as usize);
    // The pixels of an MCU, across and down.
    let mcu: [usize; 2] = from_fn(|axis| all[0].blocks[axis] * all[0].ratio[axis] * points);
    let mcus: [usize; 2] = from_fn(|axis| size[axis].div_ceil(mcu[axis]));
    let kept = from_fn(|axis| {
        let pixels = reach(sides[axis], lengths[axis], size[axis], filter);
        // Chroma's filter takes a sample, of up to four pixels, from beyond.
        let last = (pixels.end + 3) / mcu[axis];
        pixels.start.saturating_sub(4) / mcu[axis]..(last + 1).min(mcus[axis])
    });
    let mut components = Vec::new();
    for coded in all {
        // Chroma stored at half the resolution gets twice the points, so that
        // a small picture needs no upsampling.
        let small = points < 8;
        let made = coded
            .ratio
            .map(|ratio| if small { points * ratio } else { 8 });
        let scaled = if small {
            Some(scaled::Scaled::new(made)?)
        } else {
            None
        };
        let ratio = if small { [1, 1] } else { coded.ratio };
        let first = from_fn(|axis| kept[axis].start * coded.blocks[axis]);
        let count = from_fn(|axis| kept[axis].len() * coded.blocks[axis]);
        let plane = planes::Plane::new(size, ratio, made, first, count);
        components.push(scan::Component::new(coded, plane, scaled));
    }
    let read = scan::decode(level, header, mcus[0], kept, &mut components);
    let planes = components.into_iter().map(|component| component.plane);
    Some(read.map(|()| Planes::new(size, planes.collect())))
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
