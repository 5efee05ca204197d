//! Decodes a scan of a sequential JPEG, MCU by MCU. Blocks inside the crop are
//! transformed. Blocks before and beside it are only Huffman-decoded, and the rows
//! below it are read only if the end marker is missing.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::decode::jpeg::avx2::Avx2Idct;
use crate::decode::jpeg::bits::{EntropySegments, InvalidCode};
use crate::decode::jpeg::block::{Block, decode_block};
use crate::decode::jpeg::huffman::HuffmanTable;
use crate::decode::jpeg::idct::{Idct, PortableIdct};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::decode::jpeg::transform::BlockTransform;
use crate::error::ImageError;
use crate::support::simd::{Simd, SimdTarget};

/// The sample of a block without data.
const GREY: u8 = 128;

/// The MCUs to decode.
pub(crate) struct McuRange {
    /// MCUs in a row of the scan.
    pub columns: usize,
    /// Rows to read.
    pub rows: usize,
    /// The MCUs to transform.
    pub inside: [Range<usize>; 2],
}

/// The decoder state of a colour component in a scan.
pub(crate) struct ComponentDecoder<'a> {
    /// Huffman tables for DC and AC.
    tables: [HuffmanTable<'a>; 2],
    /// Blocks per MCU, horizontally and vertically.
    blocks: [usize; 2],
    transform: BlockTransform,
    /// The decoded samples.
    pub plane: ComponentPlane,
    /// The number of coefficients, in zigzag order, that the transform uses.
    needed: usize,
    /// The DC coefficient of the previous block.
    prediction: i32,
}

impl<'a> ComponentDecoder<'a> {
    pub(crate) fn new(
        tables: [HuffmanTable<'a>; 2],
        blocks: [usize; 2],
        transform: BlockTransform,
        plane: ComponentPlane,
    ) -> Self {
        Self {
            tables,
            blocks,
            needed: transform.coefficients(),
            transform,
            plane,
            prediction: 0,
        }
    }
}

/// Decodes the MCUs in `range` into the planes of `components`.
///
/// # Errors
/// `Broken` if the data ends early or contains an invalid code.
pub(crate) fn decode_scan(
    simd: Simd,
    segments: &mut EntropySegments,
    range: &McuRange,
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
    unsafe {
        match simd.target() {
            SimdTarget::Portable => decode_mcus::<PortableIdct>(segments, range, components),
            #[cfg(target_arch = "x86_64")]
            SimdTarget::Avx2 => decode_mcus_avx2(segments, range, components),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn decode_mcus_avx2(
    segments: &mut EntropySegments,
    range: &McuRange,
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    // SAFETY: AVX2 is enabled in this function.
    unsafe { decode_mcus::<Avx2Idct>(segments, range, components) }
}

/// # Safety
/// The CPU must support the instructions of `I`.
#[inline(always)]
unsafe fn decode_mcus<I: Idct>(
    segments: &mut EntropySegments,
    range: &McuRange,
    components: &mut [ComponentDecoder],
) -> Result<(), ImageError> {
    let interval = segments.restart_interval;
    let mut until_restart = interval;
    for row in 0..range.rows {
        for column in 0..range.columns {
            let inside = range.inside[0].contains(&column) && range.inside[1].contains(&row);
            let at = inside.then(|| [column - range.inside[0].start, row - range.inside[1].start]);
            if interval > 0 {
                if until_restart == 0 {
                    segments.restart()?;
                    components.iter_mut().for_each(|c| c.prediction = 0);
                    until_restart = interval;
                }
                until_restart -= 1;
                if segments.is_exhausted() {
                    components.iter_mut().for_each(|c| c.leave_grey(at));
                    continue;
                }
            }
            for component in &mut *components {
                // SAFETY: the caller guarantees the instructions of `I`.
                let result = unsafe { component.decode_mcu::<I>(segments, at) };
                if let Err(error) = result {
                    segments.invalid_code(error)?;
                    component.leave_grey(at);
                }
            }
        }
        segments.end_row()?;
    }
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
        let blocks = self.blocks;
        let tables = [&self.tables[0], &self.tables[1]];
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
                let position = [at[0] * blocks[0] + x, at[1] * blocks[1] + y];
                let coefficients = block.first_chunk().unwrap_or(&[0; 64]);
                let is_flat = reached == 1;
                // SAFETY: the caller guarantees the instructions of `I`.
                unsafe {
                    self.transform
                        .write::<I>(coefficients, is_flat, &mut self.plane, position);
                };
            }
        }
        Ok(())
    }

    /// Fills the blocks of an MCU without data.
    fn leave_grey(&mut self, at: Option<[usize; 2]>) {
        let [width, height] = self.blocks;
        let Some([x, y]) = at else { return };
        for i in 0..width * height {
            let position = [x * width + i % width, y * height + i / width];
            self.plane.fill_block(position, GREY);
        }
    }
}
