//! The headers of macroblocks (RFC 6386, 10 and 11): how each is predicted.

use super::bool_decoder::BoolDecoder;
use super::header::Header;
use super::mode_tables::BLOCK_MODES;

/// How 16 x 16 luma or 8 x 8 chroma samples are predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// The mean of the samples around them.
    Mean,
    Vertical,
    Horizontal,
    /// Left plus above minus the corner ("TrueMotion").
    Gradient,
}

/// How 4 x 4 luma samples are predicted, in the order of the tables. The diagonals
/// are named by their direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BlockMode {
    Mean,
    Gradient,
    Vertical,
    Horizontal,
    LeftDown,
    RightDown,
    VerticalRight,
    VerticalLeft,
    HorizontalDown,
    HorizontalUp,
}

/// How luma is predicted.
#[derive(Clone, Copy)]
pub(super) enum Luma {
    Whole(Mode),
    Blocks([BlockMode; 16]),
}

/// The header of a macroblock.
pub(super) struct Macroblock {
    pub(super) segment: usize,
    /// Whether coefficients follow.
    pub(super) has_coefficients: bool,
    pub(super) luma: Luma,
    pub(super) chroma: Mode,
}

/// The modes of the blocks above and on the left.
pub(super) struct Neighbours<'a> {
    pub(super) above: &'a mut [BlockMode; 4],
    pub(super) left: &'a mut [BlockMode; 4],
}

impl Macroblock {
    /// Reads the header of the next macroblock.
    #[inline(always)]
    pub(super) fn read(
        bits: &mut BoolDecoder<'_>,
        header: &Header,
        neighbours: Neighbours<'_>,
    ) -> Self {
        let segment = header
            .segments
            .map_or(0, |[first, low, high]| match bits.bit(first) {
                false => usize::from(bits.bit(low)),
                true => 2 + usize::from(bits.bit(high)),
            });
        let has_coefficients = !header
            .has_coefficients
            .is_some_and(|probability| bits.bit(probability));
        let luma = match bits.bit(145) {
            true => Luma::Whole(whole(bits, neighbours)),
            false => Luma::Blocks(blocks(bits, neighbours)),
        };
        let chroma = if !bits.bit(142) {
            Mode::Mean
        } else if !bits.bit(114) {
            Mode::Vertical
        } else if !bits.bit(183) {
            Mode::Horizontal
        } else {
            Mode::Gradient
        };
        Self {
            segment,
            has_coefficients,
            luma,
            chroma,
        }
    }
}

fn whole(bits: &mut BoolDecoder<'_>, neighbours: Neighbours<'_>) -> Mode {
    let second = if bits.bit(156) { 128 } else { 163 };
    let (mode, of_blocks) = match (second, bits.bit(second)) {
        (163, false) => (Mode::Mean, BlockMode::Mean),
        (163, true) => (Mode::Vertical, BlockMode::Vertical),
        (_, false) => (Mode::Horizontal, BlockMode::Horizontal),
        (_, true) => (Mode::Gradient, BlockMode::Gradient),
    };
    *neighbours.above = [of_blocks; 4];
    *neighbours.left = [of_blocks; 4];
    mode
}

fn blocks(bits: &mut BoolDecoder<'_>, neighbours: Neighbours<'_>) -> [BlockMode; 16] {
    let mut modes = [BlockMode::Mean; 16];
    for (row, left) in modes.as_chunks_mut::<4>().0.iter_mut().zip(neighbours.left) {
        for (mode, above) in row.iter_mut().zip(&mut *neighbours.above) {
            *mode = block(bits, &BLOCK_MODES[*above as usize][*left as usize]);
            (*above, *left) = (*mode, *mode);
        }
    }
    modes
}

/// The tree of modes.
fn block(bits: &mut BoolDecoder<'_>, probabilities: &[u8; 9]) -> BlockMode {
    let mut bit = |node: usize| bits.bit(probabilities[node]);
    if !bit(0) {
        return BlockMode::Mean;
    }
    if !bit(1) {
        return BlockMode::Gradient;
    }
    if !bit(2) {
        return BlockMode::Vertical;
    }
    if !bit(3) {
        if !bit(4) {
            return BlockMode::Horizontal;
        }
        return match bit(5) {
            false => BlockMode::RightDown,
            true => BlockMode::VerticalRight,
        };
    }
    if !bit(6) {
        return BlockMode::LeftDown;
    }
    if !bit(7) {
        return BlockMode::VerticalLeft;
    }
    match bit(8) {
        false => BlockMode::HorizontalDown,
        true => BlockMode::HorizontalUp,
    }
}
