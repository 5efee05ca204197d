//! The coefficients of a macroblock (RFC 6386, 13 and 14.1).

use super::bool_decoder::BoolDecoder;
use super::coefficient_tables::CoefficientProbabilities;
use super::header::Steps;
use super::transform::inverse_walsh;

/// Where the next coefficient is in a block of 4 x 4.
const ZIGZAG: [u8; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// The band of each coefficient; the last entry is not used, but looked up.
const BANDS: [u8; 17] = [0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0];

/// The probabilities of the bits of large values, by their category less two.
const LARGE: [&[u8]; 4] = [
    &[173, 148, 140],
    &[176, 155, 140, 135],
    &[180, 157, 141, 134, 130],
    &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129],
];

/// Kinds of blocks, in the order of the tables.
const LUMA_AFTER_MEANS: usize = 0;
const MEANS: usize = 1;
const CHROMA: usize = 2;
const LUMA: usize = 3;

/// Which blocks beside a macroblock have coefficients: four of luma, two of each
/// chroma, and the block of means.
#[derive(Clone, Copy)]
pub(super) struct Context {
    luma: [bool; 4],
    chroma: [bool; 4],
    means: bool,
}

impl Context {
    /// Outside the image.
    pub(super) const NONE: Self = Self {
        luma: [false; 4],
        chroma: [false; 4],
        means: false,
    };

    /// After a macroblock without coefficients.
    pub(super) fn clear(&mut self, has_means: bool) {
        let means = self.means && !has_means;
        *self = Self {
            means,
            ..Self::NONE
        };
    }
}

/// What a block adds to its prediction.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Content {
    Nothing,
    /// The first coefficient only.
    Mean,
    All,
}

/// The dequantised coefficients of a macroblock: 16 blocks of luma, four of each
/// chroma.
pub(super) struct Residuals {
    pub(super) blocks: [[i16; 16]; 24],
    pub(super) contents: [Content; 24],
}

impl Residuals {
    pub(super) fn new() -> Self {
        Self {
            blocks: [[0; 16]; 24],
            contents: [Content::Nothing; 24],
        }
    }

    /// Whether any block has coefficients.
    pub(super) fn any(&self) -> bool {
        self.contents
            .iter()
            .any(|&content| content != Content::Nothing)
    }

    pub(super) fn clear(&mut self) {
        for (block, content) in self.blocks.iter_mut().zip(&mut self.contents) {
            if *content != Content::Nothing {
                *block = [0; 16];
                *content = Content::Nothing;
            }
        }
    }

    /// Reads the coefficients of a macroblock. All blocks must be clear.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        bits: &mut BoolDecoder<'_>,
        probabilities: &CoefficientProbabilities,
        steps: &Steps,
        [above, left]: [&mut Context; 2],
        has_means: bool,
    ) {
        let (luma, first) = match has_means {
            true => (LUMA_AFTER_MEANS, 1),
            false => (LUMA, 0),
        };
        if has_means {
            let mut means = [0; 16];
            let table = &probabilities[MEANS];
            let context = usize::from(above.means) + usize::from(left.means);
            let end = read_block(bits, table, context, steps.means, 0, &mut means);
            (above.means, left.means) = (end > 0, end > 0);
            if end > 0 {
                inverse_walsh(&means, &mut self.blocks);
            }
        }
        for at in 0..16 {
            let [above, left] = [&mut above.luma[at % 4], &mut left.luma[at / 4]];
            self.read_one(
                bits,
                &probabilities[luma],
                steps.luma,
                [above, left],
                [at, first],
            );
        }
        for at in 16..24 {
            // Two rows of two blocks of each chroma.
            let plane = (at - 16) / 4 * 2;
            let above = &mut above.chroma[plane + at % 2];
            let left = &mut left.chroma[plane + at / 2 % 2];
            self.read_one(
                bits,
                &probabilities[CHROMA],
                steps.chroma,
                [above, left],
                [at, 0],
            );
        }
    }

    #[inline(always)]
    fn read_one(
        &mut self,
        bits: &mut BoolDecoder<'_>,
        table: &[[[u8; 11]; 3]; 8],
        steps: [i32; 2],
        [above, left]: [&mut bool; 2],
        [at, first]: [usize; 2],
    ) {
        let context = usize::from(*above) + usize::from(*left);
        let block = &mut self.blocks[at];
        let end = read_block(bits, table, context, steps, first, block);
        (*above, *left) = (end > first, end > first);
        self.contents[at] = if end > 1 {
            Content::All
        } else if block[0] != 0 {
            Content::Mean
        } else {
            Content::Nothing
        };
    }
}

/// Reads the coefficients of a block from the position `first`. Returns the position
/// after the last one.
#[inline(always)]
fn read_block(
    bits: &mut BoolDecoder<'_>,
    table: &[[[u8; 11]; 3]; 8],
    context: usize,
    steps: [i32; 2],
    first: usize,
    block: &mut [i16; 16],
) -> usize {
    let at_band = |position: usize| &table[usize::from(BANDS[position])];
    let mut position = first;
    let mut probabilities = &at_band(position)[context];
    while position < 16 {
        if !bits.bit(probabilities[0]) {
            return position;
        }
        while !bits.bit(probabilities[1]) {
            position += 1;
            if position == 16 {
                return 16;
            }
            probabilities = &at_band(position)[0];
        }
        let next = at_band(position + 1);
        let value = if bits.bit(probabilities[2]) {
            let value = large_value(bits, probabilities);
            probabilities = &next[2];
            value
        } else {
            probabilities = &next[1];
            1
        };
        let value = if bits.flag() { -value } else { value };
        let step = steps[usize::from(position > 0)];
        // Only in damaged files is the product larger than 16 bits.
        block[usize::from(ZIGZAG[position])] = (value * step) as i16;
        position += 1;
    }
    16
}

/// A value of two or more.
fn large_value(bits: &mut BoolDecoder<'_>, probabilities: &[u8; 11]) -> i32 {
    let p = probabilities;
    if !bits.bit(p[3]) {
        return match bits.bit(p[4]) {
            false => 2,
            true => 3 + i32::from(bits.bit(p[5])),
        };
    }
    if !bits.bit(p[6]) {
        if !bits.bit(p[7]) {
            return 5 + i32::from(bits.bit(159));
        }
        let high = i32::from(bits.bit(165));
        return 7 + 2 * high + i32::from(bits.bit(145));
    }
    let high = usize::from(bits.bit(p[8]));
    let category = 2 * high + usize::from(bits.bit(p[9 + high]));
    let extra = LARGE[category].iter();
    let extra = extra.fold(0, |extra, &p| 2 * extra + i32::from(bits.bit(p)));
    3 + (8 << category) + extra
}
