//! Compares each CUDA kernel with a simple Rust implementation, on shapes that are
//! not multiples of the block size. The kernels are compiled as C++ and run on the
//! CPU.

#![allow(clippy::unwrap_used)]

mod host;
mod pools;

use half::{bf16, f16};
use host::{Argument, Buffer, Host, Value};
use pools::{average_pool, blur_pool, global_average_pool, max_pool};

/// The shape of a feature map; `c` is a multiple of 8, because the CUDA backend pads
/// channels.
#[derive(Clone, Copy)]
struct NhwcShape {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl NhwcShape {
    fn len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Index of a value.
    fn at(&self, n: usize, y: usize, x: usize, c: usize) -> usize {
        ((n * self.h + y) * self.w + x) * self.c + c
    }

    /// All values, computed from their positions.
    fn fill(&self, f: impl Fn(usize, usize, usize, usize) -> f32) -> Vec<f32> {
        let mut values = Vec::new();
        for n in 0..self.n {
            for y in 0..self.h {
                for x in 0..self.w {
                    values.extend((0..self.c).map(|c| f(n, y, x, c)));
                }
            }
        }
        values
    }
}

const fn shape(n: usize, h: usize, w: usize, c: usize) -> NhwcShape {
    NhwcShape { n, h, w, c }
}

const SHAPES: [NhwcShape; 4] = [
    shape(1, 1, 1, 8),
    shape(3, 7, 5, 24),
    shape(2, 13, 9, 40),
    shape(1, 8, 8, 264),
];

/// `len` pseudo-random values between -2 and 2, rounded to the type.
fn noise<T: Value>(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::of((state >> 16) as f32 / 16384.0 - 2.0).float()
    };
    (0..len).map(|_| next()).collect()
}

fn name<T: Value>(kernel: &str) -> String {
    format!("{kernel}_{}", T::SUFFIX)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Defines tests that run for every data type.
macro_rules! test_each_type {
    ($($test:ident => $body:ident;)*) => {$(
        #[test]
        fn $test() {
            let Some(host) = Host::get() else { return };
            $body::<f16>(host);
            $body::<bf16>(host);
            $body::<f32>(host);
        }
    )*};
}

test_each_type! {
    pixels_are_normalized_and_padded_to_eight_channels => pixels;
    max_pool_ignores_the_padding_or_counts_it_as_zeros => max_pool;
    average_pool_averages_only_pixels_inside_the_image => average_pool;
    blur_pool_filters_and_reflects => blur_pool;
    global_average_pool_is_the_mean_of_all_pixels => global_average_pool;
    scale_shift_computes_a_batch_norm => scale_shift;
    zero_pad_computes_the_option_a_shortcut => zero_pad;
    excite_gates_channels_and_adds_the_residual => excite;
    highway_mixes_its_inputs_by_the_gate => highway;
    channel_conv_convolves_over_the_channels => channel_conv;
    group_norm_normalizes_each_group => group_norm;
}

fn pixels<T: Value>(host: &Host) {
    for count in [1, 63, 1000] {
        let x: Vec<u8> = (0..3 * count).map(|i| (i * 37 % 256) as u8).collect();
        let (scale, shift) = ([0.017f32, 0.0175, 0.0174], [-2.1f32, -2.0, -1.8]);
        let mut y = Buffer::<T>::zeros(8 * count);
        let floats = scale.iter().chain(&shift).map(|&f| Argument::Float(f));
        let mut arguments = vec![Argument::read(&x), y.write()];
        arguments.extend(floats);
        arguments.push(Argument::int(count));
        host.launch_elementwise(&name::<T>("pixels"), count, &arguments);
        let expected: Vec<f32> = (0..8 * count)
            .map(|i| match i % 8 {
                c @ 0..3 => f32::from(x[i / 8 * 3 + c]) * scale[c] + shift[c],
                _ => 0.0,
            })
            .collect();
        y.check("pixels", &expected);
    }
}

fn scale_shift<T: Value>(host: &Host) {
    for shape in SHAPES {
        let values = noise::<T>(shape.len(), 5);
        let (scale, shift) = (noise::<f32>(shape.c, 6), noise::<f32>(shape.c, 7));
        let x = Buffer::<T>::new(&values);
        let (a, b) = (Buffer::<f32>::new(&scale), Buffer::<f32>::new(&shift));
        for relu in [false, true] {
            let mut y = Buffer::<T>::zeros(shape.len());
            let count = shape.len() / 8;
            let mut arguments = vec![x.read(), a.read(), b.read(), y.write()];
            arguments.extend([shape.c, usize::from(relu), count].map(Argument::int));
            host.launch_elementwise(&name::<T>("scale_shift"), count, &arguments);
            let expected = shape.fill(|n, h, w, c| {
                let v = values[shape.at(n, h, w, c)] * scale[c] + shift[c];
                if relu { v.max(0.0) } else { v }
            });
            y.check("scale_shift", &expected);
        }
    }
}

fn zero_pad<T: Value>(host: &Host) {
    // 12 channels (stored as 16) become 28 (stored as 32): 8 zeros before and after
    let (old, new) = (12, 28);
    let before = (new - old) / 2;
    for (h, w) in [(1, 1), (7, 5), (8, 8)] {
        for stride in [1, 2] {
            let from = shape(3, h, w, 16);
            let to = shape(3, h.div_ceil(stride), w.div_ceil(stride), 32);
            let values = from.fill(|n, y, x, c| {
                if c < old {
                    (n + y * 7 + x + c) as f32 / 8.0
                } else {
                    0.0
                }
            });
            let x = Buffer::<T>::new(&values);
            let mut y = Buffer::<T>::zeros(to.len());
            let count = to.len() / 8;
            let sizes = [
                16, 32, old, before, from.h, from.w, to.h, to.w, stride, count,
            ];
            let mut arguments = vec![x.read(), y.write()];
            arguments.extend(sizes.map(Argument::int));
            host.launch_elementwise(&name::<T>("zero_pad"), count, &arguments);
            let expected = to.fill(|n, oy, ox, c| match c.checked_sub(before) {
                Some(c) if c < old => {
                    T::of(values[from.at(n, oy * stride, ox * stride, c)]).float()
                }
                _ => 0.0,
            });
            y.check("zero_pad", &expected);
        }
    }
}

fn excite<T: Value>(host: &Host) {
    for shape in SHAPES {
        let values = noise::<T>(shape.len(), 8);
        let gates = noise::<T>(shape.n * shape.c, 9);
        let residuals = noise::<T>(shape.len(), 10);
        let x = Buffer::<T>::new(&values);
        let (gate, residual) = (Buffer::<T>::new(&gates), Buffer::<T>::new(&residuals));
        for relu in [false, true] {
            let mut y = Buffer::<T>::zeros(shape.len());
            let count = shape.len() / 8;
            let mut arguments = vec![x.read(), gate.read(), residual.read(), y.write()];
            let sizes = [shape.c, shape.h * shape.w, usize::from(relu), count];
            arguments.extend(sizes.map(Argument::int));
            host.launch_elementwise(&name::<T>("excite"), count, &arguments);
            let expected = shape.fill(|n, h, w, c| {
                let at = shape.at(n, h, w, c);
                let v = values[at] * sigmoid(gates[n * shape.c + c]) + residuals[at];
                if relu { v.max(0.0) } else { v }
            });
            y.check("excite", &expected);
        }
    }
}

fn highway<T: Value>(host: &Host) {
    for shape in SHAPES {
        let [h, gate, x] = [11, 12, 13].map(|seed| noise::<T>(shape.len(), seed));
        let buffers = [&h, &gate, &x].map(|values| Buffer::<T>::new(values));
        let mut y = Buffer::<T>::zeros(shape.len());
        let count = shape.len() / 8;
        let mut arguments: Vec<Argument> = buffers.iter().map(Buffer::read).collect();
        arguments.extend([y.write(), Argument::int(count)]);
        host.launch_elementwise(&name::<T>("highway"), count, &arguments);
        let expected: Vec<f32> = (0..shape.len())
            .map(|i| h[i] * sigmoid(gate[i]) + x[i] * (1.0 - sigmoid(gate[i])))
            .collect();
        y.check("highway", &expected);
    }
}

fn channel_conv<T: Value>(host: &Host) {
    for (n, channels, real, kernel) in [(1, 8, 8, 3), (3, 24, 20, 5), (2, 264, 264, 7)] {
        let values = shape(n, 1, 1, channels).fill(|n, _, _, c| {
            if c < real {
                noise::<T>(channels, n as u32)[c]
            } else {
                0.0
            }
        });
        let weight = noise::<f32>(kernel, 14);
        let (x, w) = (Buffer::<T>::new(&values), Buffer::<f32>::new(&weight));
        let mut y = Buffer::<T>::zeros(n * channels);
        let mut arguments = vec![x.read(), w.read(), y.write()];
        arguments.extend([channels, real, kernel, n * channels].map(Argument::int));
        host.launch_elementwise(&name::<T>("channel_conv"), n * channels, &arguments);
        let expected = shape(n, 1, 1, channels).fill(|n, _, _, c| {
            let taps = (0..kernel).filter_map(|k| {
                let from = (c + k)
                    .checked_sub(kernel / 2)
                    .filter(|&from| from < real)?;
                Some(weight[k] * values[n * channels + from])
            });
            if c < real { taps.sum() } else { 0.0 }
        });
        y.check("channel_conv", &expected);
    }
}

fn group_norm<T: Value>(host: &Host) {
    let epsilon = 1e-5;
    for (shape, groups) in [
        (shape(1, 1, 1, 8), 2),
        (shape(3, 7, 5, 24), 4),
        (shape(2, 9, 9, 64), 32),
    ] {
        let (size, pixels) = (shape.c / groups, shape.h * shape.w);
        let values = noise::<T>(shape.len(), 15);
        let (scale, shift) = (noise::<f32>(shape.c, 16), noise::<f32>(shape.c, 17));
        let x = Buffer::<T>::new(&values);
        let (a, b) = (Buffer::<f32>::new(&scale), Buffer::<f32>::new(&shift));
        let mut statistics = Buffer::<f32>::zeros(2 * shape.n * groups);
        let sizes = [shape.c, size, pixels].map(Argument::int);
        let mut arguments = vec![x.read(), statistics.write()];
        arguments.extend(sizes);
        arguments.push(Argument::Float(epsilon));
        let grid = [groups as u32, shape.n as u32, 1];
        host.launch(
            &name::<T>("group_statistics"),
            grid,
            [256, 1, 1],
            &arguments,
        );
        let expected: Vec<(f64, f64)> = (0..shape.n * groups)
            .map(|i| {
                let (n, group) = (i / groups, i % groups);
                let all = (0..pixels * size)
                    .map(|k| f64::from(values[shape.at(n, 0, k / size, group * size + k % size)]));
                let mean = all.clone().sum::<f64>() / (pixels * size) as f64;
                let var = all.map(|v| (v - mean).powi(2)).sum::<f64>() / (pixels * size) as f64;
                (mean, 1.0 / (var + f64::from(epsilon)).sqrt())
            })
            .collect();
        for (got, (mean, scale)) in statistics.floats().chunks_exact(2).zip(&expected) {
            assert!((f64::from(got[0]) - mean).abs() < 1e-5, "{got:?}, {mean}");
            assert!(
                (f64::from(got[1]) / scale - 1.0).abs() < 1e-4,
                "{got:?}, {scale}"
            );
        }
        let residual = noise::<T>(shape.len(), 19);
        let r = Buffer::<T>::new(&residual);
        for add in [0, 1] {
            let mut y = Buffer::<T>::zeros(shape.len());
            let count = shape.len() / 8;
            let mut arguments = vec![x.read(), statistics.read(), a.read(), b.read()];
            arguments.extend([r.read(), y.write()]);
            arguments.extend([shape.c, size, groups, pixels, add, 1, count].map(Argument::int));
            host.launch_elementwise(&name::<T>("group_norm"), count, &arguments);
            let expected = shape.fill(|n, h, w, c| {
                let (mean, inverse) = expected[n * groups + c / size];
                let v = (f64::from(values[shape.at(n, h, w, c)]) - mean) * inverse;
                let added = add as f32 * residual[shape.at(n, h, w, c)];
                (v as f32 * scale[c] + shift[c] + added).max(0.0)
            });
            y.check("group_norm", &expected);
        }
    }
}
