//! Convolutions against their definition.

use proptest::prelude::*;

use super::*;
use crate::cores::Cores;

/// What `values` look like to one who takes their numbers to mean `to`.
fn reread<E: Number>(values: &[f32], from: Affine, to: Affine) -> Vec<f32> {
    let read = |&x: &f32| E::from_f32(x, from).to_f32(to);
    values.iter().map(read).collect()
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

    /// How its output is pooled in the same loop, and the size of what that
    /// makes; of some not at all.
    fn pooling(&self) -> Option<(Pooling, Map)> {
        let to = self.output();
        let seed = self.n + 3 * self.height + 5 * self.width + 7 * self.spec.cout;
        let window = Window {
            size: 1 + seed % 3,
            stride: 1 + seed / 3 % 3,
            padding: usize::from(seed % 3 == 2),
        };
        let fits = |side: usize| side + 2 * window.padding >= window.size;
        let windows = |side: usize| (side + 2 * window.padding - window.size) / window.stride + 1;
        let (pooling, (height, width)) = match seed / 9 % 4 {
            0 => return None,
            kind if kind < 3 && fits(to.height) && fits(to.width) => {
                let sides = (windows(to.height), windows(to.width));
                match kind {
                    1 => (Pooling::Largest(window), sides),
                    _ => (Pooling::Mean(window), sides),
                }
            }
            _ => (Pooling::MeanOfAll, (1, 1)),
        };
        let pooled = Map {
            height,
            width,
            ..to
        };
        Some((pooling, pooled))
    }

    /// Its weights, of which those of bytes are whole multiples of one step.
    fn weights<E: Number>(&self) -> Vec<f32> {
        let spec = &self.spec;
        let row = spec.cin / spec.groups * spec.kernel.0 * spec.kernel.1;
        let mut weights = rounded::<E>(&floats(spec.cout * row, 1), Affine::IDENTITY);
        if E::PER_WORD == 4 {
            weights = floats(spec.cout * row, 1);
            for row in weights.chunks_mut(row) {
                row.iter_mut()
                    .for_each(|w| *w = (*w * 127.0).round() / 64.0);
                row[0] = 127.0 / 64.0;
            }
        }
        weights
    }

    /// On every instruction set, within `tolerance` beside the rounding.
    fn run<E: Number>(&self, tolerance: f64) {
        let (from, to) = (self.input(), self.output());
        let spec = self.spec;
        let weights = self.weights::<E>();
        let bias = floats(spec.cout, 2);
        let (of_input, of_residual) = (Affine::covering(-1.0, 1.1), Affine::covering(-1.0, 1.0));
        let x = floats(from.n * from.height * from.width * from.channels, 3);
        let x = rounded::<E>(&x, of_input);
        let add = floats(to.n * to.height * to.width * to.channels, 4);
        let add = rounded::<E>(&add, of_residual);
        let expected = self.expected(&x, &weights, &bias, &add);
        let of_output = covering(&expected);
        let cores = Cores::new(self.threads).unwrap();
        let activation = if self.relu {
            Activation::Relu
        } else {
            Activation::None
        };
        for level in levels::<E>() {
            let all = (&weights[..], &bias[..]);
            let meanings = Meanings {
                input: of_input,
                residual: if self.residual > 0 {
                    of_residual
                } else {
                    Affine::IDENTITY
                },
                output: of_output,
            };
            let conv = PackedConv::new::<E>(spec, all, activation, level, meanings);
            let input = Buffer::<E>::new(from, of_input, Some(&x));
            let other = Buffer::<E>::new(Map { border: 2, ..to }, of_residual, Some(&add));
            let before = (self.residual == 2).then(|| reread::<E>(&add, of_residual, of_output));
            let mut output = Buffer::<E>::new(to, of_output, before.as_deref());
            let residual = match self.residual {
                0 => Residual::None,
                1 => Residual::Add(other.view()),
                _ => Residual::InPlace,
            };
            let mut workspace = vec![f32::NAN; conv.workspace(&to, &cores)];
            let (mut left, pooling) = (Vec::new(), self.pooling());
            // bytes may mean something else once they are pooled
            let of_pooled = match self.relu {
                true => of_output,
                false => Affine::covering(-9.0, 9.0),
            };
            let mut pooled = pooling.map(|(_, map)| Buffer::<E>::new(map, of_pooled, None));
            let follower = pooling
                .zip(pooled.as_mut())
                .map(|((pooling, _), pooled)| Follower {
                    pooling,
                    output: pooled.view_mut(),
                    left: &mut left,
                });
            let to = (Output::Same(output.view_mut()), follower);
            conv.run(&cores, input.view(), residual, to, &mut workspace);
            output.assert_untouched();
            output.assert_close(&expected, tolerance, &format!("{level:?} {self:?}"));
            if let Some(((pooling, map), pooled)) = pooling.zip(pooled) {
                let mut alone = Buffer::<E>::new(map, of_pooled, None);
                pool(&cores, level, pooling, output.view(), alone.view_mut());
                pooled.assert_untouched();
                let alone: Vec<f64> = alone.values().into_iter().map(f64::from).collect();
                // a panel's last channels may be summed one by one, elsewhere in vectors
                let tolerance = 1e-6 + E::rounding(of_pooled);
                pooled.assert_close(
                    &alone,
                    tolerance,
                    &format!("{level:?} {self:?} {pooling:?}"),
                );
            }
        }
    }

    fn run_all(&self) {
        self.run::<f32>(1e-5);
        self.run::<bf16>(1e-5);
        self.run::<u8>(1e-5);
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

/// The few that Miri gets through, which the others leave to it: each way a
/// convolution is split into tasks, in each number type.
#[test]
fn small_convolutions_of_every_kind() {
    let case = |(cin, cout), kernel, (stride, groups), (n, size), residual| Case {
        spec: ConvSpec {
            cin,
            cout,
            kernel: (kernel, kernel),
            stride,
            padding: kernel / 2,
            groups,
        },
        n,
        height: size,
        width: size,
        relu: residual == 1,
        residual,
        threads: 3,
    };
    case((4, 9), 3, (2, 1), (2, 5), 1).run_all();
    case((8, 17), 1, (1, 1), (3, 4), 2).run_all();
    // of smaller numbers the last word would reach past the map, which the
    // guards allow and Miri does not
    case((3, 9), 3, (2, 1), (2, 5), 1).run::<f32>(1e-5);
    case((7, 17), 1, (1, 1), (3, 4), 2).run::<f32>(1e-5);
    case((8, 6), 3, (1, 2), (1, 4), 0).run_all();
    // Winograd's, where vectors are of 8: tiles first and weights first
    for size in [12, 24] {
        let case = case((8, 16), 3, (1, 1), (1, size), 1);
        case.run::<f32>(1e-5);
        case.run::<bf16>(3e-2);
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
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
                    case.run_all();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    #[cfg_attr(miri, ignore = "hours")]
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
        Case { spec, n, height, width, relu, residual, threads }.run_all();
    }

    /// Whole vectors of channels: Winograd's, weights first and tiles first.
    #[test]
    #[cfg_attr(miri, ignore = "hours")]
    fn winograd_matches_the_definition(
        (cin, cout) in (1usize..20, 1usize..14),
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
        let case = Case { spec, n, height, width, relu, residual, threads };
        case.run::<f32>(1e-5);
        // rounded before the products: a percent, of the largest
        case.run::<bf16>(3e-2);
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
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
        case.run_all();
    }
}

/// More tiles than a pass holds, and more to gather than there is room for:
/// rows of 8 and of 7 pixels, two pixels apart.
#[test]
#[cfg_attr(miri, ignore = "hours")]
fn tiles_in_several_passes() {
    let case = |cin, cout, n, size| Case {
        spec: ConvSpec {
            cin,
            cout,
            kernel: (3, 3),
            stride: 2,
            padding: 1,
            groups: 1,
        },
        n,
        height: size,
        width: size,
        relu: false,
        residual: 1,
        threads: 1,
    };
    case(8, 128, 5, 15).run_all();
    case(1152, 512, 1, 14).run::<bf16>(1e-5);
}
