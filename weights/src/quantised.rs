//! Weights as 8-bit integers: each output channel's are whole multiples of one
//! step, which lies beside them as `NAME_scale` `[Cout]`.
//!
//! ```text
//! w[o, ..] = q[o, ..] * scale[o],   scale[o] = max |w[o, ..]| / 127
//! ```
//!
//! A norm that follows scales whole output channels, so it folds into the
//! steps and leaves the integers as they are.

/// Ends the name of a tensor of steps.
pub(crate) const SCALE: &str = "_scale";

/// `values` `[channels, ..]` as integers, -127 to 127, and the step of each
/// channel: the one way in which this project rounds weights to 8 bits.
#[must_use]
pub fn quantise(values: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    let mut steps = Vec::with_capacity(channels);
    let mut integers = Vec::with_capacity(values.len());
    for row in rows(values, channels) {
        let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        integers.extend(
            row.iter()
                .map(|value| (value / step).round_ties_even() as i8),
        );
        steps.push(step);
    }
    (integers, steps)
}

/// Integers, as floats, times their steps.
pub(crate) fn widen(integers: &mut [f32], steps: &[f32]) {
    let len = integers.len() / steps.len().max(1);
    for (row, step) in integers.chunks_mut(len.max(1)).zip(steps) {
        row.iter_mut().for_each(|value| *value *= step);
    }
}

/// `values` `[channels, ..]` as they read back after they are written as 8-bit
/// integers.
#[must_use]
pub fn as_int8(values: &[f32], channels: usize) -> Vec<f32> {
    let (integers, steps) = quantise(values, channels);
    let mut back: Vec<f32> = integers.into_iter().map(f32::from).collect();
    widen(&mut back, &steps);
    back
}

fn rows(values: &[f32], channels: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks((values.len() / channels.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_times_steps_are_within_half_a_step() {
        let values = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0];
        let (integers, steps) = quantise(&values, 2);
        assert_eq!(integers, [64, -127, 32, 0, 0, 0]);
        let mut back: Vec<f32> = integers.iter().map(|&q| f32::from(q)).collect();
        widen(&mut back, &steps);
        for (value, back) in values.iter().zip(back) {
            assert!((value - back).abs() <= 0.5 / 127.0, "{value} became {back}");
        }
    }
}
