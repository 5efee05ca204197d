//! The steps of the rarer blocks: gates (highway, squeeze-and-excitation,
//! ECA), option A's shortcut and group norm. Written plainly; the compiler
//! vectorises the rows.

use super::element::Element;
use super::map::{View, ViewMut};
use super::pack::Activation;
use crate::cores::Cores;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `y = act(x * sigmoid(gate[n, c]) + residual)`, `gate` a 1x1 map.
pub(crate) fn excite<E: Element>(
    cores: &Cores,
    activation: Activation,
    input: View<E>,
    gate: View<E>,
    residual: View<E>,
    mut output: ViewMut<E>,
) {
    let (channels, affine) = (output.map().channels, output.affine());
    let gates = gate.data().iter().map(|x| sigmoid(x.to_f32(gate.affine())));
    let gates: Vec<f32> = gates.collect();
    output.for_each_row(cores, |n, y, row| {
        let gate = &gates[n * channels..(n + 1) * channels];
        let pixels = row.chunks_exact_mut(channels);
        let inputs = input.row(n, y).chunks_exact(channels);
        let residuals = residual.row(n, y).chunks_exact(channels);
        for ((out, x), r) in pixels.zip(inputs).zip(residuals) {
            for c in 0..channels {
                let (x, r) = (x[c].to_f32(input.affine()), r[c].to_f32(residual.affine()));
                out[c] = E::from_f32(activation.of(x * gate[c] + r), affine);
            }
        }
    });
}

/// `y = h t + x (1 - t)`, `t = sigmoid(gate)`, all maps of one size.
pub(crate) fn highway<E: Element>(
    cores: &Cores,
    h: View<E>,
    gate: View<E>,
    x: View<E>,
    mut output: ViewMut<E>,
) {
    let affine = output.affine();
    let (h_affine, x_affine) = (h.affine(), x.affine());
    let gate_value = |g: E| g.to_f32(gate.affine());
    output.for_each_row(cores, |n, y, row| {
        let terms = h.row(n, y).iter().zip(gate.row(n, y)).zip(x.row(n, y));
        for (out, ((h, gate), x)) in row.iter_mut().zip(terms) {
            let t = sigmoid(gate_value(*gate));
            let (h, x) = (h.to_f32(h_affine), x.to_f32(x_affine));
            *out = E::from_f32(h * t + x * (1.0 - t), affine);
        }
    });
}

/// Every `stride`-th pixel of every `stride`-th row, the new channels zero:
/// half of them before the old ones, half after.
pub(crate) fn zero_pad<E: Element>(
    cores: &Cores,
    stride: usize,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, to) = (input.affine(), output.affine());
    let (old, new) = (input.map().channels, output.map().channels);
    let before = (new - old) / 2;
    output.for_each_row(cores, |n, y, row| {
        let pixels = input.row(n, y * stride).chunks_exact(old).step_by(stride);
        for (out, x) in row.chunks_exact_mut(new).zip(pixels) {
            out.fill(E::from_f32(0.0, to));
            for (out, x) in out[before..before + old].iter_mut().zip(x) {
                *out = E::from_f32(x.to_f32(from), to);
            }
        }
    });
}

/// A convolution along the channels of 1x1 maps, zeros beyond the ends.
pub(crate) fn channel_conv<E: Element>(
    cores: &Cores,
    weight: &[f32],
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, to) = (input.affine(), output.affine());
    let half = weight.len() / 2;
    output.for_each_row(cores, |n, _, row| {
        let x = input.row(n, 0);
        for (c, out) in row.iter_mut().enumerate() {
            let taps = weight.iter().enumerate();
            let taps =
                taps.filter_map(|(k, w)| Some(w * x.get((c + k).checked_sub(half)?)?.to_f32(from)));
            *out = E::from_f32(taps.sum(), to);
        }
    });
}

/// `y = act((x - mean) / sqrt(var + epsilon) * scale[c] + shift[c])`, mean and
/// variance over the pixels and channels of each of `groups` groups of an
/// image (Wu and He 2018).
pub(crate) fn group_norm<E: Element>(
    cores: &Cores,
    groups: usize,
    (scale, shift): (&[f32], &[f32]),
    activation: Activation,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let map = *output.map();
    let (from, to) = (input.affine(), output.affine());
    let size = map.channels / groups;
    let statistics = |n: usize, group: usize| -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for y in 0..map.height {
            for pixel in input.row(n, y).chunks_exact(map.channels) {
                for x in &pixel[group * size..(group + 1) * size] {
                    let x = f64::from(x.to_f32(from));
                    sum += x;
                    squares += x * x;
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
                *out = E::from_f32(activation.of(x.to_f32(from) * a + b), to);
            }
        }
    });
}
