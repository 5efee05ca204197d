//! Steps of the less common blocks: gates (highway, squeeze-and-excitation,
//! ECA) and the zero-padded shortcut (option A of He et al. 2015).
//! Only the most frequent one is written with vectors; the compiler vectorises
//! the others.

use super::conv_spec::Activation;
use super::element::{Affine, Element};
use super::feature_map::{View, ViewMut};
use super::isa::{Kernel, SupportedIsa, dispatch};
use super::simd::Simd;
use crate::threads::ThreadPool;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Squeeze-and-excitation: `y = act(x * sigmoid(gate[n, c]) + residual)`, where
/// `gate` is a 1x1 feature map.
pub(crate) fn excite<E: Element>(
    threads: &ThreadPool,
    isa: SupportedIsa,
    activation: Activation,
    (input, gate, residual): (View<E>, View<E>, View<E>),
    mut output: ViewMut<E>,
) {
    let (channels, affine) = (output.map().channels, output.affine());
    let gates = gate.data().iter().map(|x| sigmoid(x.to_f32(gate.affine())));
    let gates: Vec<f32> = gates.collect();
    output.for_each_row(threads, |n, y, row| {
        let row = Excite {
            input: (input.row(n, y), input.affine()),
            gate: &gates[n * channels..(n + 1) * channels],
            residual: (residual.row(n, y), residual.affine()),
            activation,
            output: (row, affine),
        };
        dispatch(isa, row);
    });
}

/// A row of pixels with the gates of its image.
struct Excite<'a, E> {
    input: (&'a [E], Affine),
    gate: &'a [f32],
    residual: (&'a [E], Affine),
    activation: Activation,
    output: (&'a mut [E], Affine),
}

impl<E: Element> Kernel for Excite<'_, E> {
    const PER_WORD: usize = E::PER_WORD;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.gate.len();
        let whole = channels / S::LANES * S::LANES;
        let floor = self.activation.floor();
        let (x, r) = (self.input, self.residual);
        for (pixel, out) in self.output.0.chunks_exact_mut(channels).enumerate() {
            let first = pixel * channels;
            for c in (0..whole).step_by(S::LANES) {
                // SAFETY: all rows have as many elements as the output's, and a
                // whole vector of channels starts at `c`.
                unsafe {
                    let x_of: S = E::load(x.0.as_ptr().add(first + c), x.1);
                    let r_of: S = E::load(r.0.as_ptr().add(first + c), r.1);
                    let y = x_of.mul_add(S::load(self.gate.as_ptr().add(c)), r_of);
                    E::store(
                        y.max(S::splat(floor)),
                        out.as_mut_ptr().add(c),
                        self.output.1,
                    );
                }
            }
            for c in whole..channels {
                let (x, r) = (x.0[first + c].to_f32(x.1), r.0[first + c].to_f32(r.1));
                out[c] = E::from_f32((x * self.gate[c] + r).max(floor), self.output.1);
            }
        }
    }
}

/// Highway gate: `y = h t + x (1 - t)` with `t = sigmoid(gate)`, all of one
/// size.
pub(crate) fn highway<E: Element>(
    threads: &ThreadPool,
    h: View<E>,
    gate: View<E>,
    x: View<E>,
    mut output: ViewMut<E>,
) {
    let affine = output.affine();
    let (h_affine, x_affine) = (h.affine(), x.affine());
    let gate_value = |g: E| g.to_f32(gate.affine());
    output.for_each_row(threads, |n, y, row| {
        let terms = h.row(n, y).iter().zip(gate.row(n, y)).zip(x.row(n, y));
        for (out, ((h, gate), x)) in row.iter_mut().zip(terms) {
            let t = sigmoid(gate_value(*gate));
            let (h, x) = (h.to_f32(h_affine), x.to_f32(x_affine));
            *out = E::from_f32(h * t + x * (1.0 - t), affine);
        }
    });
}

/// The zero-padded shortcut: takes every `stride`-th pixel of every `stride`-th
/// row and adds zero channels, half of them before and half after the existing
/// ones.
pub(crate) fn zero_pad<E: Element>(
    threads: &ThreadPool,
    stride: usize,
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, to) = (input.affine(), output.affine());
    let (old, new) = (input.map().channels, output.map().channels);
    let before = (new - old) / 2;
    output.for_each_row(threads, |n, y, row| {
        let pixels = input.row(n, y * stride).chunks_exact(old).step_by(stride);
        for (out, x) in row.chunks_exact_mut(new).zip(pixels) {
            out.fill(E::from_f32(0.0, to));
            for (out, x) in out[before..before + old].iter_mut().zip(x) {
                *out = E::from_f32(x.to_f32(from), to);
            }
        }
    });
}

/// A 1-D convolution over the channels of 1x1 feature maps, with zero padding
/// (ECA).
pub(crate) fn channel_conv<E: Element>(
    threads: &ThreadPool,
    weight: &[f32],
    input: View<E>,
    mut output: ViewMut<E>,
) {
    let (from, to) = (input.affine(), output.affine());
    let half = weight.len() / 2;
    output.for_each_row(threads, |n, _, row| {
        let x = input.row(n, 0);
        for (c, out) in row.iter_mut().enumerate() {
            let taps = weight.iter().enumerate();
            let taps =
                taps.filter_map(|(k, w)| Some(w * x.get((c + k).checked_sub(half)?)?.to_f32(from)));
            *out = E::from_f32(taps.sum(), to);
        }
    });
}
