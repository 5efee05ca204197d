//! Compares convolutions, with and without a pooling epilogue, with their
//! definition.

use proptest::prelude::*;

use super::*;
use crate::threads::ThreadPool;

/// The step between the values of 8-bit weights.
const STEP: f32 = 1.0 / 64.0;

/// Quantizes `values` with the parameters `from` and dequantizes them with
/// `to`.
fn reinterpret<E: TestElement>(values: &[f32], from: Affine, to: Affine) -> Vec<f32> {
    let read = |&x: &f32| E::from_f32(x, from).to_f32(to);
    values.iter().map(read).collect()
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) spec: ConvSpec,
    pub(super) n: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) relu: bool,
    /// 0: none, 1: a separate feature map, 2: in place.
    pub(super) residual: usize,
    pub(super) threads: usize,
}

impl Case {
    fn input(&self) -> FeatureMap {
        FeatureMap {
            n: self.n,
            height: self.height,
            width: self.width,
            channels: self.spec.cin,
            border: self.spec.padding.max(1),
        }
    }

    fn output(&self) -> FeatureMap {
        let size =
            |side: usize, k: usize| (side + 2 * self.spec.padding - k) / self.spec.stride + 1;
        FeatureMap {
            n: self.n,
            height: size(self.height, self.spec.kernel.0),
            width: size(self.width, self.spec.kernel.1),
            channels: self.spec.cout,
            border: 1,
        }
    }

    /// The pooling epilogue, if any, and the size of its output. Derived from
    /// the case's sizes.
    fn pooling(&self) -> Option<(Pooling, FeatureMap)> {
        let to = self.output();
        let seed = self.n + 3 * self.height + 5 * self.width + 7 * self.spec.cout;
        let window = PoolWindow {
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
                    1 => (Pooling::Max(window), sides),
                    _ => (Pooling::Average(window), sides),
                }
            }
            _ => (Pooling::GlobalAverage, (1, 1)),
        };
        let pooled = FeatureMap {
            height,
            width,
            ..to
        };
        Some((pooling, pooled))
    }

    /// The weights. For u8 they are multiples of [`STEP`], from -128 to 127 times.
    fn weights<E: TestElement>(&self) -> Vec<f32> {
        let spec = &self.spec;
        let row = spec.cin / spec.groups * spec.kernel.0 * spec.kernel.1;
        let mut weights = rounded::<E>(&floats(spec.cout * row, 1), Affine::IDENTITY);
        if E::PER_WORD == 4 {
            weights = floats(spec.cout * row, 1);
            for row in weights.chunks_mut(row) {
                row.iter_mut()
                    .for_each(|w| *w = (*w * 127.0).round() * STEP);
                row[0] = -128.0 * STEP;
            }
        }
        weights
    }

    /// Runs the case on every instruction set, to within `tolerance` plus
    /// rounding.
    fn run<E: TestElement>(&self, tolerance: f64) {
        let (from, to) = (self.input(), self.output());
        let spec = self.spec;
        let weights = self.weights::<E>();
        let bias = floats(spec.cout, 2);
        let (input_affine, residual_affine) =
            (Affine::covering(-1.0, 1.1), Affine::covering(-1.0, 1.0));
        let x = floats(from.n * from.height * from.width * from.channels, 3);
        let x = rounded::<E>(&x, input_affine);
        let residual_values = floats(to.n * to.height * to.width * to.channels, 4);
        let residual_values = rounded::<E>(&residual_values, residual_affine);
        let expected = self.expected(&x, &weights, &bias, &residual_values);
        let output_affine = covering(&expected);
        let threads = ThreadPool::new(self.threads).unwrap();
        let activation = if self.relu {
            Activation::Relu
        } else {
            Activation::None
        };
        for isa in isas::<E>() {
            let steps = vec![STEP; spec.cout];
            let all = ConvWeights {
                values: &weights,
                bias: &bias,
                steps: Some(&steps),
            };
            let affines = ConvAffines {
                input: input_affine,
                residual: if self.residual > 0 {
                    residual_affine
                } else {
                    Affine::IDENTITY
                },
                output: output_affine,
            };
            let conv = PackedConv::new::<E>(spec, all, activation, isa, affines);
            let input = Buffer::<E>::new(from, input_affine, Some(&x));
            let separate_residual = Buffer::<E>::new(
                FeatureMap { border: 2, ..to },
                residual_affine,
                Some(&residual_values),
            );
            let before = (self.residual == 2)
                .then(|| reinterpret::<E>(&residual_values, residual_affine, output_affine));
            let mut output = Buffer::<E>::new(to, output_affine, before.as_deref());
            let residual = match self.residual {
                0 => Residual::None,
                1 => Residual::Add(separate_residual.view()),
                _ => Residual::InPlace,
            };
            let mut workspace = vec![f32::NAN; conv.workspace(&to, &threads)];
            let (mut pending, pooling) = (Vec::new(), self.pooling());
            // the pooled feature map may have different quantization parameters
            let pooled_affine = match self.relu {
                true => output_affine,
                false => Affine::covering(-9.0, 9.0),
            };
            let mut pooled = pooling.map(|(_, map)| Buffer::<E>::new(map, pooled_affine, None));
            let epilogue =
                pooling
                    .zip(pooled.as_mut())
                    .map(|((pooling, _), pooled)| PoolEpilogue {
                        pooling,
                        output: pooled.view_mut(),
                        pending: &mut pending,
                    });
            let to = (Output::Same(output.view_mut()), epilogue);
            conv.run(&threads, input.view(), residual, to, &mut workspace);
            output.assert_untouched();
            output.assert_close(&expected, tolerance, &format!("{isa:?} {self:?}"));
            if let Some(((pooling, map), pooled)) = pooling.zip(pooled) {
                let mut separate = Buffer::<E>::new(map, pooled_affine, None);
                pool(&threads, isa, pooling, output.view(), separate.view_mut());
                pooled.assert_untouched();
                let separate: Vec<f64> = separate.values().into_iter().map(f64::from).collect();
                // the last channels may be reduced as scalars in one case and
                // as vectors in the other
                let tolerance = 1e-6 + E::rounding(pooled_affine);
                pooled.assert_close(
                    &separate,
                    tolerance,
                    &format!("{isa:?} {self:?} {pooling:?}"),
                );
            }
        }
    }

    pub(super) fn run_all(&self) {
        self.run::<f32>(1e-5);
        self.run::<bf16>(1e-5);
        self.run::<u8>(1e-5);
    }

    /// The definition, as plain loops.
    fn expected(&self, x: &[f32], weights: &[f32], bias: &[f32], residual: &[f32]) -> Vec<f64> {
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
                            sum += f64::from(residual[result.len()]);
                        }
                        result.push(if self.relu { sum.max(0.0) } else { sum });
                    }
                }
            }
        }
        result
    }
}

/// The cases that Miri can run (it skips the other tests): every way to split a
/// convolution into tasks, in every element type.
#[test]
fn small_convolutions_match_their_definition() {
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
    // With bf16 and u8 the last word would extend past the end of the feature
    // map. The guards allow that, but Miri does not.
    case((3, 9), 3, (2, 1), (2, 5), 1).run::<f32>(1e-5);
    case((7, 17), 1, (1, 1), (3, 4), 2).run::<f32>(1e-5);
    case((8, 6), 3, (1, 2), (1, 4), 0).run_all();
    // Groups of 4, 2 and 1 input channels that share a vector.
    case((16, 16), 3, (1, 4), (2, 4), 1).run_all();
    case((16, 32), 3, (2, 8), (1, 5), 2).run_all();
    case((16, 16), 3, (1, 16), (1, 4), 0).run_all();
    // Winograd with 8-lane vectors: precomputed weights and weights transformed
    // per task
    for size in [12, 24] {
        let case = case((8, 16), 3, (1, 1), (1, size), 1);
        case.run::<f32>(1e-5);
        case.run::<bf16>(3e-2);
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn convolutions_of_odd_sizes_match_their_definition() {
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

    /// Whole vectors of channels, so that Winograd applies, with precomputed
    /// weights and with weights transformed per task.
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
        // bf16 rounds the transformed values before the products: tolerance of
        // the largest value
        case.run::<bf16>(3e-2);
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours")]
fn linear_layers_match_their_definition() {
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

/// More tiles than a pass holds, and more copied tiles than the workspace
/// holds: rows of 8 and of 7 pixels at stride 2.
#[test]
#[cfg_attr(miri, ignore = "hours")]
fn amx_tasks_with_several_passes_match_the_definition() {
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
