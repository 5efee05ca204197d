//! Decodes the scan of a baseline JPEG, MCU by MCU. Blocks inside the crop are
//! transformed. Blocks before and beside it are only Huffman-decoded, and the rows
//! below it are not read.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::decode::jpeg::avx2::Avx2Idct;
use crate::decode::jpeg::bits::EntropySegments;
use crate::decode::jpeg::components::ComponentCoding;
use crate::decode::jpeg::header::Header;
use crate::decode::jpeg::huffman::{Block, InvalidCode, decode_block};
use crate::decode::jpeg::idct::{Idct, LEVEL_SHIFT, PortableIdct};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::decode::jpeg::scaled::ScaledIdct;
use crate::error::ImageError;
use crate::format::Format;
use crate::support::simd::{Simd, SimdTarget};

/// The decoder state of a colour component.
pub(crate) struct ComponentDecoder<'a> {
    coding: ComponentCoding<'a>,
    /// The decoded samples.
    pub plane: ComponentPlane,
    /// The transform to fewer than 8 x 8 points; `None` for full size.
    scaled: Option<ScaledIdct>,
    /// The number of coefficients, in zigzag order, that the transform uses.
    needed: usize,
    /// The DC coefficient of the previous block.
    prediction: i32,
}

impl<'a> ComponentDecoder<'a> {
    pub(crate) fn new(
        coding: ComponentCoding<'a>,
        plane: ComponentPlane,
        scaled: Option<ScaledIdct>,
    ) -> Self {
        Self {
            coding,
            plane,
            needed: scaled.as_ref().map_or(64, ScaledIdct::coefficients),
            scaled,
            prediction: 0,
        }
    }
}

/// Decodes the MCUs inside both `needed` ranges (columns, rows) into the planes of
/// `components`. The image has `columns` MCUs per row.
///
/// # Errors
/// `Broken` if the data ends early or contains an invalid code.
pub(crate) fn decode_scan(
    simd: Simd,
    header: &Header,
    columns: usize,
    needed: [Range<usize>; 2],
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
    unsafe {
        match simd.target() {
            SimdTarget::Portable => {
                decode_mcus::<PortableIdct>(header, columns, needed, components)
            }
            #[cfg(target_arch = "x86_64")]
            SimdTarget::Avx2 => decode_mcus_avx2(header, columns, needed, components),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn decode_mcus_avx2(
    header: &Header,
    columns: usize,
    needed: [Range<usize>; 2],
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    // SAFETY: AVX2 is enabled in this function.
    unsafe { decode_mcus::<Avx2Idct>(header, columns, needed, components) }
}

/// # Safety
/// The CPU must support the instructions of `I`.
#[inline(always)]
unsafe fn decode_mcus<I: Idct>(
    header: &Header,
    columns: usize,
    needed: [Range<usize>; 2],
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    let mut segments = EntropySegments::new(header.data);
    let mut until_restart = header.restart_interval;
    for row in 0..needed[1].end {
        for column in 0..columns {
            if header.restart_interval > 0 {
                if until_restart == 0 {
                    restart(&mut segments, components)?;
                    until_restart = header.restart_interval;
                }
                until_restart -= 1;
            }
            let inside = needed[0].contains(&column) && needed[1].contains(&row);
            let at = inside.then(|| [column - needed[0].start, row - needed[1].start]);
            for component in &mut *components {
                // SAFETY: the caller guarantees the instructions of `I`.
                let result = unsafe { component.decode_mcu::<I>(&mut segments, at) };
                if let Err(InvalidCode) = result {
                    return Err(invalid_code(&segments));
                }
            }
        }
        if segments.is_truncated() {
            return Err(ImageError::truncated(Format::Jpeg));
        }
    }
    // Data that is missing below the crop is an error as well.
    if !segments.end_marker_follows() {
        return Err(ImageError::truncated(Format::Jpeg));
    }
    Ok(())
}

/// The error for an invalid code. Beyond the end of a segment, the bits are
/// arbitrary, so the cause is missing data.
#[cold]
fn invalid_code(segments: &EntropySegments) -> ImageError {
    if segments.is_truncated() {
        ImageError::truncated(Format::Jpeg)
    } else {
        ImageError::broken(Format::Jpeg, "its data contains an invalid Huffman code")
    }
}

/// Continues after a restart marker (F.2.1.3.1).
#[cold]
fn restart(
    segments: &mut EntropySegments,
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    if segments.is_truncated() {
        return Err(ImageError::truncated(Format::Jpeg));
    }
    segments.next_segment();
    components.iter_mut().for_each(|c| c.prediction = 0);
    Ok(())
}

impl ComponentDecoder<'_> {
    /// Decodes the blocks of this component in an MCU. They are transformed only
    /// if `at`, the position of the MCU inside the crop, is given.
    ///
    /// # Safety
    /// The CPU must support the instructions of `I`.
    #[inline(always)]
    unsafe fn decode_mcu<I: Idct>(
        &mut self,
        segments: &mut EntropySegments,
        at: Option<[usize; 2]>,
    ) -> Result<(), InvalidCode> {
        let ComponentCoding { tables, blocks, .. } = &self.coding;
        let tables = [&tables[0], &tables[1]];
        let mut block: Block = [0; 256];
        let Some(at) = at else {
            for _ in 0..blocks[0] * blocks[1] {
                decode_block(segments, tables, &mut self.prediction, 1, &mut block)?;
            }
            return Ok(());
        };
        for y in 0..blocks[1] {
            for x in 0..blocks[0] {
                block[..64].fill(0);
                let prediction = &mut self.prediction;
                let reached = decode_block(segments, tables, prediction, self.needed, &mut block)?;
                let quantization = &self.coding.quantization;
                let position = [at[0] * blocks[0] + x, at[1] * blocks[1] + y];
                if reached == 1 {
                    self.plane
                        .fill_block(position, flat_sample(block[0], quantization[0]));
                    continue;
                }
                let (out, stride) = self.plane.block(position);
                if let Some(scaled) = &self.scaled {
                    scaled.idct(&block, quantization, out, stride);
                } else {
                    // SAFETY: the caller guarantees the instructions of `I`.
                    unsafe { I::idct(&block, quantization, out, stride) };
                }
            }
        }
        Ok(())
    }
}

/// The value of all samples of a block that has only a DC coefficient: an eighth
/// of it, rounded to nearest, plus the level shift.
fn flat_sample(dc: i16, quantization: i32) -> u8 {
    let dc = i32::from(dc).wrapping_mul(quantization);
    ((dc.wrapping_add(4) >> 3) + i32::from(LEVEL_SHIFT)).clamp(0, 255) as u8
}
