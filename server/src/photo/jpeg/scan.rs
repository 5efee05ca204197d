//! The scan of a baseline JPEG, MCU by MCU: the blocks under the crop are
//! transformed, those before and beside it are stepped over, and what follows
//! is not read.

use std::ops::Range;

use super::super::error::PhotoError;
use super::super::simd::{Level, Set};
use super::super::sniff::Format;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::bits::Bits;
use super::coded::Coded;
use super::header::Header;
use super::huffman::{Block, NoSuchCode, decode_block};
use super::islow::{Idct, MIDDLE, Plain};
use super::planes::Plane;
use super::scaled::Scaled;

/// A colour component on its way.
pub(super) struct Component<'a> {
    pub coded: Coded<'a>,
    /// Where its samples go.
    pub plane: Plane,
    /// What makes fewer than 8 x 8 points of a block.
    pub scaled: Option<Scaled>,
    /// Coefficients, as coded, that the points depend on.
    pub needed: usize,
    prediction: i32,
}

impl<'a> Component<'a> {
    pub(super) fn new(coded: Coded<'a>, plane: Plane, scaled: Option<Scaled>) -> Self {
        Self {
            coded,
            plane,
            needed: scaled.as_ref().map_or(64, Scaled::needed),
            scaled,
            prediction: 0,
        }
    }
}

/// Decodes into the planes the MCUs that are in both of the `kept` ranges
/// (columns, rows), of `columns` in a row.
///
/// # Errors
/// `Broken` for data that ends early or holds codes that do not exist.
pub(super) fn decode(
    level: Level,
    header: &Header,
    columns: usize,
    kept: [Range<usize>; 2],
    components: &mut [Component],
) -> Result<(), PhotoError> {
    // SAFETY: a `Level` names only what the processor was seen to have.
    unsafe {
        match level.set() {
            Set::Portable => walk::<Plain>(header, columns, kept, components),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => walk_avx2(header, columns, kept, components),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn walk_avx2(
    header: &Header,
    columns: usize,
    kept: [Range<usize>; 2],
    components: &mut [Component],
) -> Result<(), PhotoError> {
    // SAFETY: this function has AVX2.
    unsafe { walk::<Avx2>(header, columns, kept, components) }
}

/// # Safety
/// The processor must have `I`'s instructions.
#[inline(always)]
unsafe fn walk<I: Idct>(
    header: &Header,
    columns: usize,
    kept: [Range<usize>; 2],
    components: &mut [Component],
) -> Result<(), PhotoError> {
    let mut bits = Bits::new(header.data);
    let mut until_restart = header.restart_interval;
    for row in 0..kept[1].end {
        for column in 0..columns {
            if header.restart_interval > 0 {
                if until_restart == 0 {
                    restart(&mut bits, components)?;
                    until_restart = header.restart_interval;
                }
                until_restart -= 1;
            }
            let keep = kept[0].contains(&column) && kept[1].contains(&row);
            let at = keep.then(|| [column - kept[0].start, row - kept[1].start]);
            for component in &mut *components {
                // SAFETY: as the caller promises.
                let read = unsafe { component.mcu::<I>(&mut bits, at) };
                if let Err(NoSuchCode) = read {
                    return Err(broken(if bits.is_short() {
                        ENDS
                    } else {
                        "its data holds a code that does not exist"
                    }));
                }
            }
        }
        if bits.is_short() {
            return Err(broken(ENDS));
        }
    }
    if !bits.reaches_the_end() {
        return Err(broken(ENDS));
    }
    Ok(())
}

/// Goes on after a restart marker (F.2.1.3.1).
#[cold]
fn restart(bits: &mut Bits, components: &mut [Component]) -> Result<(), PhotoError> {
    if bits.is_short() {
        return Err(broken(ENDS));
    }
    bits.next_segment();
    components.iter_mut().for_each(|c| c.prediction = 0);
    Ok(())
}

impl Component<'_> {
    /// Reads this component's blocks of an MCU, and transforms them if it has
    /// a place among those that are kept.
    ///
    /// # Safety
    /// The processor must have `I`'s instructions.
    #[inline(always)]
    unsafe fn mcu<I: Idct>(
        &mut self,
        bits: &mut Bits,
        at: Option<[usize; 2]>,
    ) -> Result<(), NoSuchCode> {
        let Coded { tables, blocks, .. } = &self.coded;
        let tables = [&tables[0], &tables[1]];
        let mut block: Block = [0; 256];
        let Some(at) = at else {
            for _ in 0..blocks[0] * blocks[1] {
                decode_block(bits, tables, &mut self.prediction, 1, &mut block)?;
            }
            return Ok(());
        };
        for y in 0..blocks[1] {
            for x in 0..blocks[0] {
                block[..64].fill(0);
                let prediction = &mut self.prediction;
                let reached = decode_block(bits, tables, prediction, self.needed, &mut block)?;
                let quantization = &self.coded.quantization;
                let place = [at[0] * blocks[0] + x, at[1] * blocks[1] + y];
                if reached == 1 {
                    self.plane
                        .fill_block(place, flat(block[0], quantization[0]));
                    continue;
                }
                let (out, stride) = self.plane.block(place);
                if let Some(scaled) = &self.scaled {
                    scaled.idct(&block, quantization, out, stride);
                } else {
                    // SAFETY: as the caller promises.
                    unsafe { I::idct(&block, quantization, out, stride) };
                }
            }
        }
        Ok(())
    }
}

/// The sample that a block's all are which has but a DC coefficient: an eighth
/// of it, to the nearest, about the middle.
fn flat(dc: i16, quantization: i32) -> u8 {
    let dc = i32::from(dc).wrapping_mul(quantization);
    ((dc.wrapping_add(4) >> 3) + i32::from(MIDDLE)).clamp(0, 255) as u8
}

/// What is wrong with a file that was cut.
pub(super) const ENDS: &str = "it ends before its last pixel";

pub(super) fn broken(reason: &str) -> PhotoError {
    PhotoError::broken(Format::Jpeg, reason)
}
