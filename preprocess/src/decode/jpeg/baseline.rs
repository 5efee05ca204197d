//! Baseline JPEG: determines which MCUs the crop depends on and decodes them into
//! component planes.

use std::array::from_fn;

use weights::Interpolation;

use crate::crop::CropAxis;
use crate::decode::jpeg::components::components;
use crate::decode::jpeg::header::Header;
use crate::decode::jpeg::planes::{ComponentPlane, JpegPlanes};
use crate::decode::jpeg::scaled::ScaledIdct;
use crate::decode::jpeg::scan::{ComponentDecoder, decode_scan};
use crate::error::ImageError;
use crate::filter::source_range;
use crate::support::simd::Simd;

/// Decodes the part inside the crop, with `points` x `points` pixels per 8 x 8
/// block. `None` if this decoder does not support the file.
pub(crate) fn decode(
    simd: Simd,
    header: &Header,
    crop: [CropAxis; 2],
    points: usize,
    filter: Interpolation,
) -> Option<Result<JpegPlanes, ImageError>> {
    let all = components(header)?;
    let full = [header.width, header.height].map(f64::from);
    let lengths = full.map(|length| length * points as f64 / 8.0);
    let size = lengths.map(|length| length.ceil() as usize);
    // Pixels per MCU, then MCUs in the image, each horizontally and vertically.
    let mcu: [usize; 2] = from_fn(|axis| all[0].blocks[axis] * all[0].ratio[axis] * points);
    let mcus: [usize; 2] = from_fn(|axis| size[axis].div_ceil(mcu[axis]));
    let needed = from_fn(|axis| {
        let pixels = source_range(crop[axis], lengths[axis], size[axis], filter);
        // Chroma upsampling reads one sample, of up to four pixels, on each side.
        let last = (pixels.end + 3) / mcu[axis];
        pixels.start.saturating_sub(4) / mcu[axis]..(last + 1).min(mcus[axis])
    });
    let mut decoders = Vec::new();
    for component in all {
        // In a reduced image, a chroma block at half resolution is computed with
        // twice the points, so that no upsampling is needed.
        let reduced = points < 8;
        let block_points = component
            .ratio
            .map(|ratio| if reduced { points * ratio } else { 8 });
        let scaled = if reduced {
            Some(ScaledIdct::new(block_points)?)
        } else {
            None
        };
        let ratio = if reduced { [1, 1] } else { component.ratio };
        let first = from_fn(|axis| needed[axis].start * component.blocks[axis]);
        let count = from_fn(|axis| needed[axis].len() * component.blocks[axis]);
        let plane = ComponentPlane::new(size, ratio, block_points, first, count);
        decoders.push(ComponentDecoder::new(component, plane, scaled));
    }
    let result = decode_scan(simd, header, mcus[0], needed, &mut decoders);
    let planes = decoders.into_iter().map(|decoder| decoder.plane);
    Some(result.map(|()| JpegPlanes::new(size, planes.collect())))
}
