//! Chroma to the luma's resolution with libjpeg's triangle filter: a new
//! sample is three parts the nearer and one part the farther neighbour.

/// The plane's `[width, height]` samples at full resolution, from rows that
/// are `stride` apart; `ratio` is full resolution over the plane's.
pub(super) fn upsample(
    samples: &[u8],
    stride: usize,
    [width, height]: [usize; 2],
    ratio: [usize; 2],
) -> Vec<u8> {
    let own = [width.div_ceil(ratio[0]), height.div_ceil(ratio[1])];
    let row = |y: usize| &samples[y * stride..][..own[0]];
    let mut full = Vec::with_capacity(width * height);
    for y in 0..height {
        let line: Vec<u8> = match ratio {
            // two pixels are too few for the filter, as libjpeg has it
            [2, down] if own[0] <= 2 => (0..2 * own[0]).map(|x| row(y / down)[x / 2]).collect(),
            [2, 1] => across(
                &row(y).iter().map(|&s| i32::from(s)).collect::<Vec<_>>(),
                [1, 2],
                2,
            ),
            [2, 2] => {
                // the row beyond the edge repeats the edge
                let (near, last) = (y / 2, own[1] - 1);
                let far = if y % 2 == 0 {
                    near.saturating_sub(1)
                } else {
                    last.min(near + 1)
                };
                let sums = row(near).iter().zip(row(far));
                let sums: Vec<i32> = sums
                    .map(|(&n, &f)| 3 * i32::from(n) + i32::from(f))
                    .collect();
                across(&sums, [8, 7], 4)
            }
            _ => row(y).to_vec(),
        };
        full.extend_from_slice(&line[..width]);
    }
    full
}

/// Twice as many samples from a row of sums; `rounding` goes to the left and
/// the right sample before the shift.
fn across(sums: &[i32], [left, right]: [i32; 2], shift: u32) -> Vec<u8> {
    let last = sums.len() - 1;
    let mix = |near: i32, far: i32, rounding: i32| ((3 * near + far + rounding) >> shift) as u8;
    let pair = |i: usize| {
        let (before, after) = (sums[i.saturating_sub(1)], sums[last.min(i + 1)]);
        [mix(sums[i], before, left), mix(sums[i], after, right)]
    };
    (0..sums.len()).flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_becomes_a_ramp() {
        // by hand: (3 * 0 + 100 + 2) >> 2 = 25, (3 * 100 + 0 + 1) >> 2 = 75
        let row = upsample(&[0, 0, 100, 100], 4, [8, 1], [2, 1]);
        assert_eq!(row, [0, 0, 0, 25, 75, 100, 100, 100]);
        let both = upsample(&[0, 0, 0, 80, 80, 80], 3, [5, 4], [2, 2]);
        assert_eq!(
            both.chunks(5).map(|row| row[0]).collect::<Vec<_>>(),
            [0, 20, 60, 80]
        );
    }
}
