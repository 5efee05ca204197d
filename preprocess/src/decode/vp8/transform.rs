//! The inverse transforms (RFC 6386, 14.3 and 14.4).

/// Spreads the block of means over the first coefficients of the luma blocks.
pub(super) fn inverse_walsh(means: &[i16; 16], blocks: &mut [[i16; 16]; 24]) {
    let mut columns = [0; 16];
    for i in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|row| i32::from(means[row + i]));
        let sums = [a + d, b + c, b - c, a - d];
        columns[i] = sums[0] + sums[1];
        columns[8 + i] = sums[0] - sums[1];
        columns[4 + i] = sums[3] + sums[2];
        columns[12 + i] = sums[3] - sums[2];
    }
    for i in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| columns[4 * i + column]);
        let sums = [a + d + 3, b + c, b - c, a - d + 3];
        blocks[4 * i][0] = ((sums[0] + sums[1]) >> 3) as i16;
        blocks[4 * i + 1][0] = ((sums[3] + sums[2]) >> 3) as i16;
        blocks[4 * i + 2][0] = ((sums[0] - sums[1]) >> 3) as i16;
        blocks[4 * i + 3][0] = ((sums[3] - sums[2]) >> 3) as i16;
    }
}

/// The value times the square root of 2 times the cosine of pi / 8.
#[inline(always)]
fn times_cosine(value: i32) -> i32 {
    (value.wrapping_mul(20_091) >> 16) + value
}

/// The value times the square root of 2 times the sine of pi / 8.
#[inline(always)]
fn times_sine(value: i32) -> i32 {
    value.wrapping_mul(35_468) >> 16
}

#[inline(always)]
fn butterfly(values: [i32; 4]) -> [i32; 4] {
    let [first, second, third, fourth] = values;
    let (a, b) = (first + third, first - third);
    let c = times_sine(second) - times_cosine(fourth);
    let d = times_cosine(second) + times_sine(fourth);
    [a + d, b + c, b - c, a - d]
}

/// Adds the inverse cosine transform of `block` to 4 x 4 samples, whose rows are
/// `stride` apart.
#[inline(always)]
pub(super) fn add_block(block: &[i16; 16], samples: &mut [u8], stride: usize) {
    let mut columns = [[0; 4]; 4];
    for (i, column) in columns.iter_mut().enumerate() {
        let values = [block[i], block[4 + i], block[8 + i], block[12 + i]];
        *column = butterfly(values.map(i32::from));
    }
    for row in 0..4 {
        let [first, second, third, fourth] = [
            columns[0][row] + 4,
            columns[1][row],
            columns[2][row],
            columns[3][row],
        ];
        let [a, b, c, d] = butterfly([first, second, third, fourth]);
        add_row(
            &mut samples[row * stride..],
            [a >> 3, b >> 3, c >> 3, d >> 3],
        );
    }
}

/// As [`add_block`], of a block with the first coefficient only.
#[inline(always)]
pub(super) fn add_mean(first: i16, samples: &mut [u8], stride: usize) {
    let value = (i32::from(first) + 4) >> 3;
    for row in 0..4 {
        add_row(&mut samples[row * stride..], [value; 4]);
    }
}

#[inline(always)]
fn add_row(samples: &mut [u8], values: [i32; 4]) {
    if let Some(samples) = samples.first_chunk_mut::<4>() {
        for (sample, value) in samples.iter_mut().zip(values) {
            *sample = (i32::from(*sample) + value).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_one_coefficient_is_flat() {
        for first in [-3000, -5, -4, 0, 3, 4, 700] {
            let mut block = [0; 16];
            block[0] = first;
            let (mut all, mut mean) = ([100; 32], [100; 32]);
            add_block(&block, &mut all, 8);
            add_mean(first, &mut mean, 8);
            assert_eq!(all, mean, "{first}");
        }
        let mut blocks = [[0; 16]; 24];
        let mut means = [0; 16];
        means[0] = 80;
        inverse_walsh(&means, &mut blocks);
        assert!(blocks[..16].iter().all(|block| block[0] == 10));
        assert!(blocks[16..].iter().all(|block| block[0] == 0));
    }
}
