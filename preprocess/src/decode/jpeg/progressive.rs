//! Decodes the scans of a progressive JPEG (ITU-T T.81, annex G) into coefficients,
//! and transforms these after the last scan.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::decode::jpeg::avx2::Avx2Idct;
use crate::decode::jpeg::bands::{Band, decode_first, decode_refinement};
use crate::decode::jpeg::bits::{BitReader, EntropySegments, InvalidCode};
use crate::decode::jpeg::coefficients::CoefficientPlane;
use crate::decode::jpeg::huffman::HuffmanTable;
use crate::decode::jpeg::idct::{Idct, PortableIdct};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::decode::jpeg::transform::BlockTransform;
use crate::error::ImageError;
use crate::support::simd::{Simd, SimdTarget, kernel};

/// A scan of DC coefficients.
pub(crate) struct DcScan<'a> {
    pub simd: Simd,
    pub components: Vec<DcComponent<'a>>,
    /// The position of the bits (Al).
    pub shift: u8,
}

/// A component in a scan of DC coefficients.
pub(crate) struct DcComponent<'a> {
    /// `None` in a refinement scan, which has no codes.
    pub table: Option<HuffmanTable<'a>>,
    pub plane: &'a mut CoefficientPlane,
    /// Blocks per MCU, horizontally and vertically.
    pub blocks: [usize; 2],
    /// The DC coefficient of the previous block.
    pub prediction: i32,
}

/// A scan of AC coefficients, which has one component.
pub(crate) struct AcScan<'a> {
    pub simd: Simd,
    pub table: HuffmanTable<'a>,
    pub plane: &'a mut CoefficientPlane,
    pub band: Band,
    /// Whether earlier scans coded the higher bits.
    pub refines: bool,
    /// Further blocks that the last end-of-block symbol has ended.
    pub ended: u32,
}

/// A scan that decodes MCUs of one row.
pub(crate) trait ScanDecoder {
    /// Starts a restart interval.
    fn reset(&mut self);

    /// Decodes MCUs, until the data of the segment ends.
    fn decode(
        &mut self,
        reader: &mut BitReader,
        row: usize,
        columns: Range<usize>,
    ) -> Result<(), InvalidCode>;
}

/// Decodes `rows` of `columns` MCUs each.
///
/// # Errors
/// `Broken` if the data ends early or contains an invalid code.
pub(crate) fn decode_rows(
    segments: &mut EntropySegments,
    [columns, rows]: [usize; 2],
    scan: &mut impl ScanDecoder,
) -> Result<(), ImageError> {
    let interval = match segments.restart_interval {
        0 => usize::MAX,
        interval => interval,
    };
    let mut until_restart = interval;
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            if until_restart == 0 {
                segments.restart()?;
                scan.reset();
                until_restart = interval;
            }
            let end = columns.min(column.saturating_add(until_restart));
            if !segments.is_exhausted() {
                let mut reader = segments.reader();
                let result = scan.decode(&mut reader, row, column..end);
                let position = reader.position;
                segments.seek(position);
                result.or_else(|error| segments.invalid_code(error))?;
            }
            until_restart -= end - column;
            column = end;
        }
        segments.end_row()?;
    }
    Ok(())
}

impl ScanDecoder for DcScan<'_> {
    fn reset(&mut self) {
        self.components.iter_mut().for_each(|c| c.prediction = 0);
    }

    fn decode(
        &mut self,
        reader: &mut BitReader,
        row: usize,
        columns: Range<usize>,
    ) -> Result<(), InvalidCode> {
        decode_dc(
            self.simd,
            reader,
            self.shift,
            &mut self.components,
            row,
            columns,
        )
    }
}

kernel! {
    /// Decodes the DC coefficients of MCUs (G.1.2.1).
    fn decode_dc = decode_dc_of_mcus(
        reader: &mut BitReader<'_>,
        shift: u8,
        components: &mut [DcComponent<'_>],
        row: usize,
        columns: Range<usize>,
    ) -> Result<(), InvalidCode>
}

#[inline(always)]
fn decode_dc_of_mcus(
    reader: &mut BitReader<'_>,
    shift: u8,
    components: &mut [DcComponent<'_>],
    row: usize,
    columns: Range<usize>,
) -> Result<(), InvalidCode> {
    for column in columns {
        for component in &mut *components {
            let [width, height] = component.blocks;
            for y in row * height..(row + 1) * height {
                for x in column * width..(column + 1) * width {
                    reader.refill();
                    if let Some(table) = &component.table {
                        let (entry, window) = table.next(reader, 1)?;
                        let difference = entry.value(window).into();
                        component.prediction = component.prediction.wrapping_add(difference);
                        if let Some(dc) = component.plane.dc([x, y]) {
                            *dc = (component.prediction << shift) as i16;
                        }
                    } else if reader.bit()
                        && let Some(dc) = component.plane.dc([x, y])
                    {
                        *dc |= 1 << shift;
                    }
                }
            }
        }
        if reader.is_past_end() {
            break;
        }
    }
    Ok(())
}

impl ScanDecoder for AcScan<'_> {
    fn reset(&mut self) {
        self.ended = 0;
    }

    fn decode(
        &mut self,
        reader: &mut BitReader,
        row: usize,
        columns: Range<usize>,
    ) -> Result<(), InvalidCode> {
        let Self {
            simd,
            table,
            band,
            ended,
            ..
        } = self;
        let mut run = self.plane.run(row, columns);
        let decode = if self.refines {
            decode_refinement
        } else {
            decode_first
        };
        decode(*simd, reader, table, *band, ended, &mut run)
    }
}

/// Transforms all stored blocks.
pub(crate) fn transform_blocks(
    simd: Simd,
    coefficients: &CoefficientPlane,
    transform: &BlockTransform,
    to: &mut ComponentPlane,
) {
    // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
    unsafe {
        match simd.target() {
            SimdTarget::Portable => {
                transform_with::<PortableIdct>(coefficients, transform, to);
            }
            #[cfg(target_arch = "x86_64")]
            SimdTarget::Avx2 => transform_avx2(coefficients, transform, to),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn transform_avx2(
    coefficients: &CoefficientPlane,
    transform: &BlockTransform,
    to: &mut ComponentPlane,
) {
    // SAFETY: AVX2 is enabled in this function.
    unsafe { transform_with::<Avx2Idct>(coefficients, transform, to) }
}

/// # Safety
/// The CPU must support the instructions of `I`.
#[inline(always)]
unsafe fn transform_with<I: Idct>(
    coefficients: &CoefficientPlane,
    transform: &BlockTransform,
    to: &mut ComponentPlane,
) {
    let [columns, rows] = coefficients.stored_blocks();
    let mut block = [0; 64];
    for row in rows.clone() {
        for column in columns.clone() {
            let is_flat = coefficients.read([column, row], &mut block);
            let at = [column - columns.start, row - rows.start];
            // SAFETY: the caller guarantees the instructions of `I`.
            unsafe { transform.write::<I>(&block, is_flat, to, at) };
        }
    }
}
