//! The frame header (RFC 6386, 9 and 19.2), and the partitions of the data.

use super::bool_decoder::BoolDecoder;
use super::coefficient_tables::{CoefficientProbabilities, DEFAULT, UPDATE};
use super::mode_tables::{AC_STEPS, DC_STEPS};
use crate::error::ImageError;
use crate::format::Format;

/// What the header says about all macroblocks.
pub(super) struct Header {
    /// Probabilities of the tree of segments, if each macroblock names its segment.
    pub(super) segments: Option<[u8; 3]>,
    /// The quantisation of each segment.
    pub(super) steps: [Steps; 4],
    /// The probability that a macroblock has coefficients, if some have none.
    pub(super) has_coefficients: Option<u8>,
    pub(super) coefficients: Box<CoefficientProbabilities>,
    pub(super) filter: FilterHeader,
}

/// The quantisation steps of a segment: of coefficients without frequency, and of all
/// others.
#[derive(Clone, Copy, Default)]
pub(super) struct Steps {
    pub(super) luma: [i32; 2],
    /// Of the block that holds the means of the luma blocks.
    pub(super) means: [i32; 2],
    pub(super) chroma: [i32; 2],
}

/// The loop filter (9.6).
#[derive(Default)]
pub(super) struct FilterHeader {
    pub(super) is_simple: bool,
    /// By segment, and whether the blocks of a macroblock are predicted one by one.
    pub(super) levels: [[i32; 2]; 4],
    pub(super) sharpness: i32,
    /// Whether the filter is used.
    pub(super) is_on: bool,
}

/// Values of each segment (9.3).
struct Segments {
    /// Whether the values replace those of the frame.
    is_absolute: bool,
    quantizer: [i32; 4],
    filter: [i32; 4],
    map: Option<[u8; 3]>,
}

/// A header, the rest of the first partition, and the partitions of coefficients.
pub(super) type Opened<'a> = (Header, BoolDecoder<'a>, Vec<BoolDecoder<'a>>);

/// Reads the header.
///
/// # Errors
/// `Broken`.
pub(super) fn open(data: &[u8]) -> Result<Opened<'_>, ImageError> {
    let truncated = || ImageError::truncated(Format::WebP);
    let (tag, rest) = data.split_first_chunk::<3>().ok_or_else(truncated)?;
    let tag = u32::from_le_bytes([tag[0], tag[1], tag[2], 0]);
    let is_key_frame = tag & 1 == 0;
    let (version, is_shown) = (tag >> 1 & 7, tag >> 4 & 1 == 1);
    if !is_key_frame || version > 3 || !is_shown {
        let reason = "its pixel data is a part of a video";
        return Err(ImageError::broken(Format::WebP, reason));
    }
    // After the start code and the size, which were read already.
    let rest = rest.get(7..).ok_or_else(truncated)?;
    let length = (tag >> 5) as usize;
    let (first, rest) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let mut bits = BoolDecoder::new(first);
    // The colour space and the kind of clamping have no effect.
    bits.number(2);
    let segments = bits.flag().then(|| read_segments(&mut bits));
    let filter = read_filter(&mut bits, segments.as_ref());
    let count = 1 << bits.number(2);
    let partitions = partitions(rest, count).ok_or_else(truncated)?;
    let steps = read_steps(&mut bits, segments.as_ref());
    // Whether the probabilities are kept for the next frame.
    bits.flag();
    let coefficients = read_coefficients(&mut bits);
    let has_coefficients = bits.flag().then(|| bits.number(8));
    let header = Header {
        segments: segments.and_then(|segments| segments.map),
        steps,
        has_coefficients,
        coefficients,
        filter,
    };
    match bits.is_exhausted() {
        true => Err(truncated()),
        false => Ok((header, bits, partitions)),
    }
}

fn read_segments(bits: &mut BoolDecoder<'_>) -> Segments {
    let mut segments = Segments {
        is_absolute: true,
        quantizer: [0; 4],
        filter: [0; 4],
        map: None,
    };
    let has_map = bits.flag();
    if bits.flag() {
        segments.is_absolute = bits.flag();
        for (values, width) in [(&mut segments.quantizer, 7), (&mut segments.filter, 6)] {
            for value in values {
                *value = bits.optional_signed(width).unwrap_or(0);
            }
        }
    }
    if has_map {
        let mut map = [255; 3];
        for probability in &mut map {
            if bits.flag() {
                *probability = bits.number(8);
            }
        }
        segments.map = Some(map);
    }
    segments
}

fn read_filter(bits: &mut BoolDecoder<'_>, segments: Option<&Segments>) -> FilterHeader {
    let is_simple = bits.flag();
    let level = i32::from(bits.number(6));
    let sharpness = i32::from(bits.number(3));
    // Added for the kind of frame, and for blocks that are predicted one by one.
    let (mut frame, mut blocks) = (0, 0);
    if bits.flag() && bits.flag() {
        let mut values = [0; 8];
        for value in &mut values {
            *value = bits.optional_signed(6).unwrap_or(0);
        }
        (frame, blocks) = (values[0], values[4]);
    }
    let of_segment = |segment: usize| match segments {
        None => level,
        Some(segments) if segments.is_absolute => segments.filter[segment],
        Some(segments) => level + segments.filter[segment],
    };
    FilterHeader {
        is_simple,
        levels: std::array::from_fn(|segment| {
            let level = of_segment(segment) + frame;
            [level, level + blocks].map(|level| level.clamp(0, 63))
        }),
        sharpness,
        is_on: level > 0,
    }
}

/// The partitions of coefficients (9.5). `None` if the data ends before the last one.
fn partitions(data: &[u8], count: usize) -> Option<Vec<BoolDecoder<'_>>> {
    let (lengths, mut rest) = data.split_at_checked(3 * (count - 1))?;
    let mut partitions = Vec::with_capacity(count);
    for length in lengths.as_chunks::<3>().0 {
        let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
        let (partition, after) = rest.split_at_checked(length)?;
        partitions.push(BoolDecoder::new(partition));
        rest = after;
    }
    partitions.push(BoolDecoder::new(rest));
    Some(partitions)
}

/// The quantisation steps of all segments (9.6).
fn read_steps(bits: &mut BoolDecoder<'_>, segments: Option<&Segments>) -> [Steps; 4] {
    let base = i32::from(bits.number(7));
    let mut deltas = [0; 5];
    for delta in &mut deltas {
        *delta = bits.optional_signed(4).unwrap_or(0);
    }
    let [luma_dc, means_dc, means_ac, chroma_dc, chroma_ac] = deltas;
    let dc = |index: i32| DC_STEPS[index.clamp(0, 127) as usize];
    let ac = |index: i32| AC_STEPS[index.clamp(0, 127) as usize];
    std::array::from_fn(|segment| {
        let index = match segments {
            None => base,
            Some(segments) if segments.is_absolute => segments.quantizer[segment],
            Some(segments) => base + segments.quantizer[segment],
        };
        Steps {
            luma: [dc(index + luma_dc), ac(index)],
            means: [
                2 * dc(index + means_dc),
                (ac(index + means_ac) * 155 / 100).max(8),
            ],
            chroma: [dc(index + chroma_dc).min(132), ac(index + chroma_ac)],
        }
    })
}

fn read_coefficients(bits: &mut BoolDecoder<'_>) -> Box<CoefficientProbabilities> {
    let mut probabilities = Box::new(DEFAULT);
    let all = probabilities.as_flattened_mut().as_flattened_mut();
    let updates = UPDATE.as_flattened().as_flattened();
    let all = all.as_flattened_mut().iter_mut();
    for (probability, &update) in all.zip(updates.as_flattened()) {
        if bits.bit(update) {
            *probability = bits.number(8);
        }
    }
    probabilities
}
