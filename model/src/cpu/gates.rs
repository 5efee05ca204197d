//! The steps of the rarer blocks: gates (highway, squeeze-and-excitation,
//! ECA), option A's shortcut and group norm. Written plainly; the compiler
//! vectorises the rows.

use super::map::{View, ViewMut};
use super::pack::Activation;
use crate::cores::Cores;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `y = act(x * sigmoid(gate[n, c]) + residual)`, `gate` a 1x1 map.
pub fn excite(
    cores: &Cores,
    activation: Activation,
    input: View,
    gate: View,
    residual: View,
    mut output: ViewMut,
) {
    let channels = output.map().channels;
    let gates: Vec<f32> = gate.data().iter().map(|&x| sigmoid(x)).collect();
    output.for_each_row(cores, |n, y, row| {
        let gate = &gates[n * channels..(n + 1) * channels];
        let pixels = row.chunks_exact_mut(channels);
        let inputs = input.row(n, y).chunks_exact(channels);
        let residuals = residual.row(n, y).chunks_exact(channels);
        for ((out, x), r) in pixels.zip(inputs).zip(residuals) {
            for c in 0..channels {
                out[c] = activation.of(x[c] * gate[c] + r[c]);
            }
        }
    });
}

/// `y = h t + x (1 - t)`, `t = sigmoid(gate)`, all maps of one size.
pub fn highway(cores: &Cores, h: View, gate: View, x: View, mut output: ViewMut) {
    output.for_each_row(cores, |n, y, row| {
        let terms = h.row(n, y).iter().zip(gate.row(n, y)).zip(x.row(n, y));
        for (out, ((h, gate), x)) in row.iter_mut().zip(terms) {
            let t = sigmoid(*gate);
            *out = h * t + x * (1.0 - t);
        }
    });
}

/// Every `stride`-th pixel of every `stride`-th row, the new channels zero:
/// half of them before the old ones, half after.
pub fn zero_pad(cores: &Cores, stride: usize, input: View, mut output: ViewMut) {
    let (old, new) = (input.map().channels, output.map().channels);
    let before = (new - old) / 2;
    output.for_each_row(cores, |n, y, row| {
        let pixels = input.row(n, y * stride).chunks_exact(old).step_by(stride);
        for (out, x) in row.chunks_exact_mut(new).zip(pixels) {
            out.fill(0.0);
            out[before..before + old].copy_from_slice(x);
        }
    });
}

/// A convolution along the channels of 1x1 maps, zeros beyond the ends.
pub fn channel_conv(cores: &Cores, weight: &[f32], input: View, mut output: ViewMut) {
    let half = weight.len() / 2;
    output.for_each_row(cores, |n, _, row| {
        let x = input.row(n, 0);
        for (c, out) in row.iter_mut().enumerate() {
            let taps = weight.iter().enumerate();
            let taps = taps.filter_map(|(k, w)| Some(w * x.get((c + k).checked_sub(half)?)?));
            *out = taps.sum();
        }
    });
}

/// `y = act((x - mean) / sqrt(var + epsilon) * scale[c] + shift[c])`, mean and
/// variance over the pixels and channels of each of `groups` groups of an
/// image (Wu and He 2018).
pub fn group_norm(
    cores: &Cores,
    groups: usize,
    (scale, shift): (&[f32], &[f32]),
    activation: Activation,
    input: View,
    mut output: ViewMut,
) {
    let map = *output.map();
    let size = map.channels / groups;
    let statistics = |n: usize, group: usize| -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for y in 0..map.height {
            for pixel in input.row(n, y).chunks_exact(map.channels) {
                for &x in &pixel[group * size..(group + 1) * size] {
                    sum += f64::from(x);
                    squares += f64::from(x) * f64::from(x);
                }
            }
        }
        let count = (map.height * map.width * size) as f64;
        let mean = sum / count;
        (mean, (squares / count - mean * mean).max(0.0))
    };
    // per image and channel: x * a + b
    let factors: Vec<(f32, f32)> = (0..map.n * groups)
        .flat_map(|i| {
            let (mean, var) = statistics(i / groups, i % groups);
            let deviation = (var + crate::reference::NORM_EPSILON).sqrt();
            let first = i % groups * size;
            (first..first + size).map(move |c| {
                let a = f64::from(scale[c]) / deviation;
                (a as f32, (f64::from(shift[c]) - mean * a) as f32)
            })
        })
        .collect();
    output.for_each_row(cores, |n, y, row| {
        let factors = &factors[n * map.channels..(n + 1) * map.channels];
        let inputs = input.row(n, y).chunks_exact(map.channels);
        for (out, x) in row.chunks_exact_mut(map.channels).zip(inputs) {
            for ((out, x), (a, b)) in out.iter_mut().zip(x).zip(factors) {
                *out = activation.of(x * a + b);
            }
        }
    });
}
