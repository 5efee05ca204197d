//! The lossy pixels of WebP: a key frame of VP8 (RFC 6386), bit-exact with libwebp.
//!
//! | step | file |
//! |---|---|
//! | header, partitions | `header.rs` |
//! | modes of a macroblock | `modes.rs`, `mode_tables.rs` |
//! | coefficients | `residuals.rs`, `coefficient_tables.rs` |
//! | arithmetic decoding | `bool_decoder.rs` |
//! | prediction and transform | `reconstruct.rs`: `predict.rs`, `transform.rs` |
//! | loop filter | `loop_filter.rs` |
//! | upsampling and colours | `planes.rs` |

mod bool_decoder;
mod coefficient_tables;
mod header;
mod lanes;
mod loop_filter;
mod mode_tables;
mod modes;
pub(crate) mod planes;
mod predict;
mod reconstruct;
mod residuals;
mod transform;

use crate::decode::vp8::bool_decoder::BoolDecoder;
use crate::decode::vp8::header::Header;
use crate::decode::vp8::loop_filter::{Edges, Plane, Strength, filter_chroma, filter_luma};
use crate::decode::vp8::modes::{BlockMode, Luma, Macroblock, Neighbours};
use crate::decode::vp8::planes::YuvPlanes;
use crate::decode::vp8::reconstruct::Reconstruction;
use crate::decode::vp8::residuals::{Context, Residuals};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::{Simd, kernel};

/// Work for each pixel: the planes, and the result.
const WORK_PER_PIXEL: u64 = 7;

/// Decodes a frame of this size, which its header has and which was checked.
///
/// # Errors
/// `Broken`, `Cancelled`.
pub(crate) fn decode(
    simd: Simd,
    data: &[u8],
    size: [u32; 2],
    budget: &Budget<'_>,
) -> Result<YuvPlanes, ImageError> {
    let (header, bits, partitions) = header::open(data)?;
    let mut frame = Frame::new(header, bits, size);
    let count = partitions.len();
    let mut partitions = partitions;
    for row in 0..frame.planes.macroblocks[1] {
        let pixels = 16.min(size[1] as usize - 16 * row) as u64 * u64::from(size[0]);
        budget.spend(Format::WebP, pixels * WORK_PER_PIXEL)?;
        let coefficients = &mut partitions[row % count];
        read_row(simd, &mut frame, coefficients, row);
        if frame.bits.is_exhausted() || coefficients.is_exhausted() {
            return Err(ImageError::truncated(Format::WebP));
        }
        filter_row(simd, &mut frame, row);
    }
    Ok(frame.planes)
}

/// A frame that is being decoded.
struct Frame<'a> {
    header: Header,
    /// The headers of the macroblocks.
    bits: BoolDecoder<'a>,
    /// By segment, and whether blocks are predicted one by one.
    strengths: [[Strength; 2]; 4],
    /// Of the row above, by macroblock.
    above: Vec<Above>,
    residuals: Residuals,
    reconstruction: Reconstruction,
    /// What the loop filter does, for each macroblock of a row: its strength, and
    /// whether blocks are filtered.
    filters: Vec<(Strength, bool)>,
    planes: YuvPlanes,
}

/// What the next row needs of a macroblock.
#[derive(Clone, Copy)]
struct Above {
    modes: [BlockMode; 4],
    context: Context,
}

impl Above {
    const NONE: Self = Self {
        modes: [BlockMode::Mean; 4],
        context: Context::NONE,
    };
}

impl<'a> Frame<'a> {
    fn new(header: Header, bits: BoolDecoder<'a>, size: [u32; 2]) -> Self {
        let planes = YuvPlanes::new(size);
        let columns = planes.macroblocks[0];
        let strength = |segment, has_blocks| Strength::new(&header.filter, segment, has_blocks);
        Self {
            strengths: std::array::from_fn(|segment| {
                [false, true].map(|has_blocks| strength(segment, has_blocks))
            }),
            header,
            bits,
            above: vec![Above::NONE; columns],
            residuals: Residuals::new(),
            reconstruction: Reconstruction::new(columns),
            filters: vec![(Strength::default(), false); columns],
            planes,
        }
    }
}

kernel! {
    /// Reads and reconstructs a row of macroblocks, before the loop filter.
    fn read_row = read(frame: &mut Frame<'_>, coefficients: &mut BoolDecoder<'_>, row: usize)
}

#[inline(always)]
fn read(frame: &mut Frame<'_>, coefficients: &mut BoolDecoder<'_>, row: usize) {
    let mut left = Above::NONE;
    for column in 0..frame.planes.macroblocks[0] {
        let above = &mut frame.above[column];
        let neighbours = Neighbours {
            above: &mut above.modes,
            left: &mut left.modes,
        };
        let macroblock = Macroblock::read(&mut frame.bits, &frame.header, neighbours);
        let is_whole = matches!(macroblock.luma, Luma::Whole(_));
        let contexts = [&mut above.context, &mut left.context];
        frame.residuals.clear();
        if macroblock.has_coefficients {
            let steps = &frame.header.steps[macroblock.segment];
            let probabilities = &frame.header.coefficients;
            frame
                .residuals
                .read(coefficients, probabilities, steps, contexts, is_whole);
        } else {
            for context in contexts {
                context.clear(is_whole);
            }
        }
        let strength = frame.strengths[macroblock.segment][usize::from(!is_whole)];
        frame.filters[column] = (strength, !is_whole || frame.residuals.any());
        let at = [column, row];
        frame
            .reconstruction
            .add(&macroblock, &frame.residuals, at, &mut frame.planes);
    }
    frame.reconstruction.end_row(row, &frame.planes);
}

kernel! {
    /// Applies the loop filter to a row of macroblocks.
    fn filter_row = filter(frame: &mut Frame<'_>, row: usize)
}

#[inline(always)]
fn filter(frame: &mut Frame<'_>, row: usize) {
    let planes = &mut frame.planes;
    let is_simple = frame.header.filter.is_simple;
    for (column, &(strength, inner)) in frame.filters.iter().enumerate() {
        if strength.is_none() {
            continue;
        }
        let edges = Edges {
            left: column > 0,
            above: row > 0,
            inner,
        };
        let at = 16 * (row * planes.luma_stride + column);
        let mut luma = Plane {
            samples: &mut planes.luma,
            stride: planes.luma_stride,
        };
        filter_luma(&mut luma, at, strength, edges, is_simple);
        if !is_simple {
            let stride = planes.luma_stride / 2;
            let at = 8 * (row * stride + column);
            let second = planes.chroma.len() / 2;
            let mut chroma = Plane {
                samples: &mut planes.chroma,
                stride,
            };
            filter_chroma(&mut chroma, [at, second], strength, edges);
        }
    }
}
