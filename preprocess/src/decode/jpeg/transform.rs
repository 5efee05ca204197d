//! The transform of a component's coefficients to samples.

use crate::decode::jpeg::idct::{Idct, LEVEL_SHIFT};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::decode::jpeg::scaled::ScaledIdct;

/// Dequantisation and inverse DCT of a component.
pub(crate) struct BlockTransform {
    /// The quantisation table in row order.
    quantization: [i32; 64],
    /// The transform to fewer than 8 x 8 points; `None` for full size.
    scaled: Option<ScaledIdct>,
}

impl BlockTransform {
    /// The transform to `points` per block.
    pub(crate) fn new(quantization: [i32; 64], points: [usize; 2], reduced: bool) -> Self {
        Self {
            quantization,
            scaled: if reduced {
                ScaledIdct::new(points)
            } else {
                None
            },
        }
    }

    /// The number of coefficients, in zigzag order, up to the last one used.
    pub(crate) fn coefficients(&self) -> usize {
        self.scaled.as_ref().map_or(64, ScaledIdct::coefficients)
    }

    /// Writes the samples of a block to `plane`. `is_flat` says that the
    /// coefficients other than the first are zero.
    ///
    /// # Safety
    /// The CPU must support the instructions of `I`.
    #[inline(always)]
    pub(crate) unsafe fn write<I: Idct>(
        &self,
        block: &[i16; 64],
        is_flat: bool,
        plane: &mut ComponentPlane,
        at: [usize; 2],
    ) {
        if is_flat {
            plane.fill_block(at, flat_sample(block[0], self.quantization[0]));
            return;
        }
        let (out, stride) = plane.block(at);
        if let Some(scaled) = &self.scaled {
            scaled.idct(block, &self.quantization, out, stride);
        } else {
            // SAFETY: the caller guarantees the instructions of `I`.
            unsafe { I::idct(block, &self.quantization, out, stride) };
        }
    }
}

/// The value of all samples of a block that has only a DC coefficient: an eighth
/// of it, rounded to nearest, plus the level shift.
fn flat_sample(dc: i16, quantization: i32) -> u8 {
    let dc = i32::from(dc).wrapping_mul(quantization);
    ((dc.wrapping_add(4) >> 3) + i32::from(LEVEL_SHIFT)).clamp(0, 255) as u8
}
