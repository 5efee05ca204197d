//! Every kernel against a plain loop in f64, on sizes that fit no vector, with
//! buffers poisoned so that an unwritten or a stray float shows.

use proptest::prelude::*;

use super::*;
use crate::cores::Cores;
use crate::options::Isa;

const GUARD: usize = 64;
const CANARY: f32 = -12345.0;

/// The instruction sets of this processor.
fn levels() -> Vec<Level> {
    let mut levels = vec![Level::at_most(Isa::Portable)];
    for isa in [Isa::Avx2, Isa::Avx512] {
        let level = Level::at_most(isa);
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    levels
}

/// Reproducible floats in -1..1.
fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A map in a guarded buffer: zero border, interior from `values` (NaN when
/// there are none).
struct Buffer {
    data: Vec<f32>,
    map: Map,
}

impl Buffer {
    fn new(map: Map, values: Option<&[f32]>) -> Self {
        let mut data = vec![CANARY; map.len() + 2 * GUARD];
        data[GUARD..GUARD + map.len()].fill(0.0);
        let mut buffer = Self { data, map };
        for (i, at) in buffer.interior().into_iter().enumerate() {
            buffer.data[at] = values.map_or(f32::NAN, |v| v[i]);
        }
        buffer
    }

    /// Where the interior's floats lie, in the order n, y, x, c.
    fn interior(&self) -> Vec<usize> {
        let m = self.map;
        let (rows, columns) = (m.height + 2 * m.border, m.width + 2 * m.border);
        let mut places = Vec::new();
        for n in 0..m.n {
            for y in m.border..m.border + m.height {
                for x in m.border..m.border + m.width {
                    let pixel = (n * rows + y) * columns + x;
                    places.extend((0..m.channels).map(|c| GUARD + pixel * m.channels + c));
                }
            }
        }
        places
    }

    fn values(&self) -> Vec<f32> {
        self.interior().iter().map(|&at| self.data[at]).collect()
    }

    fn view(&self) -> View<'_> {
        View::new(&self.data[GUARD..GUARD + self.map.len()], self.map)
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        let (map, end) = (self.map, GUARD + self.map.len());
        ViewMut::new(&mut self.data[GUARD..end], map)
    }

    /// Everything outside the interior is as it was.
    fn assert_untouched(&self) {
        let interior: std::collections::HashSet<_> = self.interior().into_iter().collect();
        for (at, &x) in self.data.iter().enumerate() {
            let guard = at < GUARD || at >= GUARD + self.map.len();
            if guard {
                assert_eq!(x, CANARY, "guard at {at} of {:?}", self.map);
            } else if !interior.contains(&at) {
                assert_eq!(x, 0.0, "border at {at} of {:?}", self.map);
            }
        }
    }
}

fn assert_close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(g) - e).abs() / scale;
        assert!(error < tolerance, "{what}: value {i} is {g}, not {e}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    spec: ConvSpec,
    n: usize,
    height: usize,
    width: usize,
    relu: bool,
    /// 0: none, 1: added, 2: in place.
    residual: usize,
    threads: usize,
}

impl Case {
    fn input(&self) -> Map {
        Map {
            n: self.n,
            height: self.height,
            width: self.width,
            channels: self.spec.cin,
            border: self.spec.padding.max(1),
        }
    }

    fn output(&self) -> Map {
        let size =
            |side: usize, k: usize| (side + 2 * self.spec.padding - k) / self.spec.stride + 1;
        Map {
            n: self.n,
            height: size(self.height, self.spec.kernel.0),
            width: size(self.width, self.spec.kernel.1),
            channels: self.spec.cout,
            border: 1,
        }
    }

    fn run(&self) {
        let (from, to) = (self.input(), self.output());
        let spec = self.spec;
        let per_group = spec.cin / spec.groups;
        let weights = floats(spec.cout * per_group * spec.kernel.0 * spec.kernel.1, 1);
        let bias = floats(spec.cout, 2);
        let x = floats(from.n * from.height * from.width * from.channels, 3);
        let add = floats(to.n * to.height * to.width * to.channels, 4);
        let expected = self.expected(&x, &weights, &bias, &add);
        let cores = Cores::new(self.threads).unwrap();
        let activation = if self.relu {
            Activation::Relu
        } else {
            Activation::None
        };
        for level in levels() {
            let conv = PackedConv::new(spec, &weights, &bias, activation, level);
            let input = Buffer::new(from, Some(&x));
            let other = Buffer::new(Map { border: 2, ..to }, Some(&add));
            let mut output = Buffer::new(to, (self.residual == 2).then_some(&add));
            let residual = match self.residual {
                0 => Residual::None,
                1 => Residual::Add(other.view()),
                _ => Residual::InPlace,
            };
            let mut workspace = vec![f32::NAN; conv.workspace(&to, &cores)];
            conv.run(
                &cores,
                input.view(),
                residual,
                output.view_mut(),
                &mut workspace,
            );
            output.assert_untouched();
            assert_close(
                &output.values(),
                &expected,
                1e-5,
                &format!("{level:?} {self:?}"),
            );
        }
    }

    /// The definition, as plain loops.
    fn expected(&self, x: &[f32], weights: &[f32], bias: &[f32], add: &[f32]) -> Vec<f64> {
        let (spec, to) = (self.spec, self.output());
        let (kh, kw) = spec.kernel;
        let (per_group, outputs) = (spec.cin / spec.groups, spec.cout / spec.groups);
        let mut result = Vec::new();
        for n in 0..self.n {
            for i in 0..to.height {
                for j in 0..to.width {
                    for o in 0..spec.cout {
                        let mut sum = f64::from(bias[o]);
                        for (r, s) in (0..kh).flat_map(|r| (0..kw).map(move |s| (r, s))) {
                            let y = (i * spec.stride + r).wrapping_sub(spec.padding);
                            let z = (j * spec.stride + s).wrapping_sub(spec.padding);
                            if y >= self.height || z >= self.width {
                                continue;
                            }
                            for c in 0..per_group {
                                let channel = o / outputs * per_group + c;
                                let at = ((n * self.height + y) * self.width + z) * spec.cin;
                                let w = weights[((o * per_group + c) * kh + r) * kw + s];
                                sum += f64::from(w) * f64::from(x[at + channel]);
                            }
                        }
                        if self.residual > 0 {
                            sum += f64::from(add[result.len()]);
                        }
                        result.push(if self.relu { sum.max(0.0) } else { sum });
                    }
                }
            }
        }
        result
    }
}

#[test]
fn convolutions_of_odd_sizes() {
    for channels in [1, 3, 7, 33] {
        for size in [1, 5, 7, 13] {
            for kernel in [1, 2, 3, 7] {
                for stride in [1, 2] {
                    let padding = if kernel == 2 { 0 } else { kernel / 2 };
                    if size + 2 * padding < kernel {
                        continue;
                    }
                    let spec = ConvSpec {
                        cin: channels,
                        cout: 34 - channels,
                        kernel: (kernel, kernel),
                        stride,
                        padding,
                        groups: 1,
                    };
                    let case = Case {
                        spec,
                        n: 1 + (channels + size) % 5,
                        height: size,
                        width: size,
                        relu: size % 2 == 1,
                        residual: (channels + kernel) % 3,
                        threads: stride,
                    };
                    case.run();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolution_matches_its_definition(
        (groups, cin, cout) in (prop::sample::select(vec![1usize, 1, 1, 2, 4, 6, 8]), 1usize..20, 1usize..40),
        (kh, kw, stride) in (1usize..4, 1usize..4, 1usize..3),
        (n, height, width) in (1usize..6, 1usize..14, 1usize..14),
        (relu, residual, threads) in (any::<bool>(), 0usize..3, 1usize..4),
    ) {
        let padding = (kh.min(kw)) / 2;
        prop_assume!(height + 2 * padding >= kh && width + 2 * padding >= kw);
        let spec = ConvSpec {
            cin: cin * groups,
            cout: cout * groups,
            kernel: (kh, kw),
            stride,
            padding,
            groups,
        };
        Case { spec, n, height, width, relu, residual, threads }.run();
    }

    /// Whole vectors of channels: Winograd's, weights first and tiles first.
    #[test]
    fn winograd_matches_the_definition(
        (cin, cout) in (1usize..10, 1usize..7),
        (n, height, width) in (1usize..6, 1usize..18, 1usize..18),
        (relu, residual, threads) in (any::<bool>(), 0usize..3, 1usize..4),
    ) {
        let spec = ConvSpec {
            cin: 16 * cin,
            cout: 16 * cout,
            kernel: (3, 3),
            stride: 1,
            padding: 1,
            groups: 1,
        };
        Case { spec, n, height, width, relu, residual, threads }.run();
    }

    #[test]
    fn pools_match_their_definitions(
        (size, stride, padding) in (1usize..4, 1usize..4, 0usize..2),
        (n, height, width, channels) in (1usize..4, 1usize..14, 1usize..14, 1usize..35),
        (counted, ceil, threads) in (any::<bool>(), any::<bool>(), 1usize..3),
    ) {
        prop_assume!(padding < size && height + padding >= size && width + padding >= size);
        let windows = |side: usize| {
            let room = side + 2 * padding - size;
            let count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // As PyTorch: a window may not begin beyond the map.
            if (count - 1) * stride >= side + padding { count - 1 } else { count }
        };
        let from = Map { n, height, width, channels, border: 1 };
        let to = Map { n, height: windows(height), width: windows(width), channels, border: 1 };
        let x = floats(n * height * width * channels, 5);
        let (mut largest, mut means) = (Vec::new(), Vec::new());
        for i in 0..n * to.height * to.width * channels {
            let (c, i) = (i % channels, i / channels);
            let (j, i) = (i % to.width, i / to.width);
            let (i, b) = (i % to.height, i / to.height);
            let (mut max, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0);
            for (r, s) in (0..size).flat_map(|r| (0..size).map(move |s| (r, s))) {
                let y = (i * stride + r).wrapping_sub(padding);
                let z = (j * stride + s).wrapping_sub(padding);
                if y < height && z < width {
                    let value = f64::from(x[((b * height + y) * width + z) * channels + c]);
                    (max, sum, count) = (max.max(value), sum + value, count + 1);
                }
            }
            largest.push(max);
            means.push(sum / if counted { size * size } else { count } as f64);
        }
        let cores = Cores::new(threads).unwrap();
        let window = Window { size, stride, padding };
        let how = if counted { Padding::Counted } else { Padding::Left };
        for level in levels() {
            let input = Buffer::new(from, Some(&x));
            let mut output = Buffer::new(to, None);
            max_pool(&cores, level, window, input.view(), output.view_mut());
            output.assert_untouched();
            assert_close(&output.values(), &largest, 1e-9, "max");
            let mut output = Buffer::new(to, None);
            average_pool(&cores, level, window, how, input.view(), output.view_mut());
            output.assert_untouched();
            assert_close(&output.values(), &means, 1e-6, "mean");
        }
    }

    #[test]
    fn elementwise_steps_match_their_definitions(
        (n, height, width, channels) in (1usize..4, 1usize..9, 1usize..9, 1usize..40),
        relu in any::<bool>(),
    ) {
        let from = Map { n, height, width, channels, border: 0 };
        let x = floats(from.len(), 6);
        let (scale, shift) = (floats(channels, 7), floats(channels, 8));
        let expected: Vec<f64> = x.iter().enumerate().map(|(i, &x)| {
            let c = i % channels;
            let y = f64::from(x) * f64::from(scale[c]) + f64::from(shift[c]);
            if relu { y.max(0.0) } else { y }
        }).collect();
        let means: Vec<f64> = (0..n * channels).map(|i| {
            let image = &x[i / channels * height * width * channels..][..height * width * channels];
            let plane = image.iter().skip(i % channels).step_by(channels);
            plane.map(|&x| f64::from(x)).sum::<f64>() / (height * width) as f64
        }).collect();
        let cores = Cores::new(2).unwrap();
        let activation = if relu { Activation::Relu } else { Activation::None };
        for level in levels() {
            let input = Buffer::new(from, Some(&x));
            let mut output = Buffer::new(Map { border: 2, ..from }, None);
            scale_shift(&cores, level, (&scale, &shift), activation, input.view(), output.view_mut());
            output.assert_untouched();
            assert_close(&output.values(), &expected, 1e-6, "scale_shift");
            let mut output = Buffer::new(Map { height: 1, width: 1, ..from }, None);
            global_average_pool(&cores, level, input.view(), output.view_mut());
            output.assert_untouched();
            assert_close(&output.values(), &means, 1e-6, "global_average_pool");
        }
    }
}

#[test]
fn linear_is_a_convolution_of_1x1_maps() {
    for (cin, cout, n) in [(7, 10, 1), (33, 1000, 5), (512, 10, 3)] {
        let case = Case {
            spec: ConvSpec::linear(cin, cout),
            n,
            height: 1,
            width: 1,
            relu: false,
            residual: 0,
            threads: 2,
        };
        case.run();
    }
}

#[test]
fn pixels_are_normalised_per_channel() {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for (height, width) in [(1, 1), (5, 7), (13, 33)] {
        let map = Map {
            n: 2,
            height,
            width,
            channels: 3,
            border: 3,
        };
        let bytes: Vec<u8> = (0..2 * height * width * 3)
            .map(|i| (i * 7 % 256) as u8)
            .collect();
        let images: Vec<&[u8]> = bytes.chunks(height * width * 3).collect();
        let expected: Vec<f64> = bytes
            .iter()
            .enumerate()
            .map(|(i, &x)| (f64::from(x) / 255.0 - f64::from(mean[i % 3])) / f64::from(std[i % 3]))
            .collect();
        let mut output = Buffer::new(map, None);
        normalize_pixels(
            &Cores::new(2).unwrap(),
            &images,
            mean,
            std,
            output.view_mut(),
        );
        output.assert_untouched();
        assert_close(&output.values(), &expected, 1e-6, "pixels");
    }
}

#[test]
fn planes_are_interleaved() {
    let map = Map {
        n: 2,
        height: 5,
        width: 7,
        channels: 3,
        border: 2,
    };
    let planes = floats(2 * 3 * 5 * 7, 9);
    let mut output = Buffer::new(map, None);
    pad_planes(&Cores::new(2).unwrap(), &planes, output.view_mut());
    output.assert_untouched();
    let expected: Vec<f64> = (0..planes.len())
        .map(|i| {
            let (n, pixel, c) = (i / 105, i / 3 % 35, i % 3);
            f64::from(planes[n * 105 + c * 35 + pixel])
        })
        .collect();
    assert_close(&output.values(), &expected, 1e-9, "planes");
}
