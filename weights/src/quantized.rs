//! Symmetric 8-bit quantization of weights, with one scale for each output
//! channel. The scales of tensor `NAME` are stored as `NAME_scale`, `[Cout]`.
//!
//! ```text
//! w[o, ..] = q[o, ..] * scale[o],   scale[o] = max |w[o, ..]| / 127
//! ```
//!
//! A batch norm after the layer scales whole output channels, so it folds into
//! the scales and the integers do not change.

/// Suffix of the name of a tensor of scales.
pub(crate) const SCALE: &str = "_scale";
/// Suffix of the name of a tensor of zero points, which must be 0.
pub(crate) const ZERO_POINT: &str = "_zero_point";

/// Quantizes `values` `[channels, ..]`: integers from -127 to 127, and the scale
/// of each channel. All 8-bit weights of this project are rounded here.
#[must_use]
pub fn quantize(values: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    let mut scales = Vec::with_capacity(channels);
    let mut integers = Vec::with_capacity(values.len());
    for row in rows(values, channels) {
        let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        integers.extend(
            row.iter()
                .map(|value| (value / scale).round_ties_even() as i8),
        );
        scales.push(scale);
    }
    (integers, scales)
}

/// The integers of 8-bit weights that were multiplied by these scales: the inverse
/// of `dequantize`. Other quantizations than [`quantize`] use -128 as well, and
/// not always 127.
#[must_use]
pub fn integers(values: &[f32], scales: &[f32]) -> Vec<i8> {
    let len = (values.len() / scales.len().max(1)).max(1);
    let row = |(row, scale): (&[f32], &f32)| {
        let scale = *scale;
        // a scale of 0 makes all values 0
        let integer = move |value: &f32| match scale {
            0.0 => 0,
            scale => (value / scale).round_ties_even() as i8,
        };
        row.iter().map(integer).collect::<Vec<i8>>()
    };
    values.chunks(len).zip(scales).flat_map(row).collect()
}

/// Multiplies integers, given as floats, by the scales of their channels.
pub(crate) fn dequantize(integers: &mut [f32], scales: &[f32]) {
    let len = integers.len() / scales.len().max(1);
    for (row, scale) in integers.chunks_mut(len.max(1)).zip(scales) {
        row.iter_mut().for_each(|value| *value *= scale);
    }
}

/// Quantizes `values` `[channels, ..]` and converts them back: the values that
/// a checkpoint with 8-bit weights returns.
#[must_use]
pub fn fake_quantize(values: &[f32], channels: usize) -> Vec<f32> {
    let (integers, scales) = quantize(values, channels);
    let mut back: Vec<f32> = integers.into_iter().map(f32::from).collect();
    dequantize(&mut back, &scales);
    back
}

fn rows(values: &[f32], channels: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks((values.len() / channels.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_quantization_are_recovered() {
        let every: Vec<i8> = (-128..=127).collect();
        let scales = [0.003_921_6, -1.7e-5, 0.0];
        let mut values: Vec<f32> = every.repeat(3).into_iter().map(f32::from).collect();
        dequantize(&mut values, &scales);
        let recovered = integers(&values, &scales);
        assert_eq!(recovered[..256], every);
        assert_eq!(recovered[256..512], every);
        assert_eq!(recovered[512..], [0; 256]);
    }

    #[test]
    fn dequantized_values_are_within_half_a_scale() {
        let values = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0];
        let (integers, scales) = quantize(&values, 2);
        assert_eq!(integers, [64, -127, 32, 0, 0, 0]);
        let mut back: Vec<f32> = integers.iter().map(|&q| f32::from(q)).collect();
        dequantize(&mut back, &scales);
        for (value, back) in values.iter().zip(back) {
            assert!(
                (value - back).abs() <= 0.5 / 127.0,
                "{value} was read back as {back}"
            );
        }
    }
}
