//! Compares pooling, elementwise and input steps with their definitions.

use proptest::prelude::*;

use super::*;
use crate::threads::ThreadPool;

/// Quantization parameters for inputs in -1..1.
const INPUT_AFFINE: Affine = Affine {
    scale: 1.0 / 127.0,
    zero_point: 127.0,
};

/// The error that rounding the input may cause, for values up to `most`.
fn input_tolerance<E: TestElement>(most: f64) -> f64 {
    1e-6 + most * E::rounding(INPUT_AFFINE)
}

struct PoolCase {
    from: FeatureMap,
    to: FeatureMap,
    window: PoolWindow,
    threads: usize,
}

impl PoolCase {
    fn run<E: TestElement>(&self, x: &[f32], largest: &[f64], means: &[f64]) {
        let threads = ThreadPool::new(self.threads).unwrap();
        let tolerance = input_tolerance::<E>(1.0);
        for isa in SupportedIsa::all() {
            let input = Buffer::<E>::new(self.from, INPUT_AFFINE, Some(x));
            let mut output = Buffer::<E>::new(self.to, INPUT_AFFINE, None);
            let largest_of = Pooling::Max(self.window);
            pool(&threads, isa, largest_of, input.view(), output.view_mut());
            output.assert_untouched();
            output.assert_close(largest, tolerance, "max");
            let mut output = Buffer::<E>::new(self.to, INPUT_AFFINE, None);
            let mean_of = Pooling::Average(self.window);
            pool(&threads, isa, mean_of, input.view(), output.view_mut());
            output.assert_untouched();
            output.assert_close(means, tolerance, "mean");
        }
    }
}

struct ScaleShiftCase {
    from: FeatureMap,
    scale: Vec<f32>,
    shift: Vec<f32>,
    activation: Activation,
}

impl ScaleShiftCase {
    fn run<E: TestElement>(&self, x: &[f32], expected: &[f64], means: &[f64]) {
        let threads = ThreadPool::new(2).unwrap();
        let norm = (&self.scale[..], &self.shift[..]);
        for isa in SupportedIsa::all() {
            let input = Buffer::<E>::new(self.from, INPUT_AFFINE, Some(x));
            let wide = FeatureMap {
                border: 2,
                ..self.from
            };
            let mut output = Buffer::<E>::new(wide, covering(expected), None);
            let (from, to) = (input.view(), output.view_mut());
            scale_shift(&threads, isa, norm, self.activation, from, to);
            output.assert_untouched();
            output.assert_close(expected, input_tolerance::<E>(1.0), "scale_shift");
            let one = FeatureMap {
                height: 1,
                width: 1,
                ..self.from
            };
            let mut output = Buffer::<E>::new(one, INPUT_AFFINE, None);
            pool(
                &threads,
                isa,
                Pooling::GlobalAverage,
                input.view(),
                output.view_mut(),
            );
            output.assert_untouched();
            output.assert_close(means, input_tolerance::<E>(1.0), "global average");
        }
    }
}

/// The number of random cases; only a few under Miri, which has no file access
/// for proptest's persistence.
fn cases() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig {
            cases: 2,
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    } else {
        ProptestConfig::with_cases(64)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn pools_match_their_definitions(
        (size, stride, padding) in (1usize..4, 1usize..4, 0usize..2),
        (n, height, width, channels) in (1usize..4, 1usize..14, 1usize..14, 1usize..35),
        (ceil, threads) in (any::<bool>(), 1usize..3),
    ) {
        prop_assume!(padding < size && height + padding >= size && width + padding >= size);
        let windows = |side: usize| {
            let room = side + 2 * padding - size;
            let count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // As in PyTorch, no window starts beyond the feature map.
            if (count - 1) * stride >= side + padding { count - 1 } else { count }
        };
        let from = FeatureMap { n, height, width, channels, border: 1 };
        let to = FeatureMap { n, height: windows(height), width: windows(width), channels, border: 1 };
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
            means.push(sum / f64::from(count));
        }
        let pools = PoolCase { from, to, window: PoolWindow { size, stride, padding }, threads };
        pools.run::<f32>(&x, &largest, &means);
        pools.run::<bf16>(&x, &largest, &means);
        pools.run::<u8>(&x, &largest, &means);
    }

    #[test]
    fn elementwise_steps_match_their_definitions(
        (n, height, width, channels) in (1usize..4, 1usize..9, 1usize..9, 1usize..40),
        relu in any::<bool>(),
    ) {
        let from = FeatureMap { n, height, width, channels, border: 0 };
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
        let activation = if relu { Activation::Relu } else { Activation::None };
        let norm = ScaleShiftCase { from, scale, shift, activation };
        norm.run::<f32>(&x, &expected, &means);
        norm.run::<bf16>(&x, &expected, &means);
        norm.run::<u8>(&x, &expected, &means);
    }
}

#[test]
fn pixels_are_normalised_per_channel() {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for (height, width) in [(1, 1), (5, 7), (13, 33)] {
        let map = FeatureMap {
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
        for isa in SupportedIsa::all() {
            pixels_on::<f32>(isa, map, &images, (mean, std), &expected);
            pixels_on::<half::bf16>(isa, map, &images, (mean, std), &expected);
            pixels_on::<u8>(isa, map, &images, (mean, std), &expected);
        }
    }
}

fn pixels_on<E: TestElement>(
    isa: SupportedIsa,
    map: FeatureMap,
    images: &[&[u8]],
    preprocessing: ([f32; 3], [f32; 3]),
    expected: &[f64],
) {
    let threads = ThreadPool::new(2).unwrap();
    let affine = Affine::covering(-3.0, 3.0);
    let mut output = Buffer::<E>::new(map, affine, None);
    normalize_pixels(&threads, isa, images, preprocessing, output.view_mut());
    output.assert_untouched();
    // values up to 3: float rounding is relative
    let most = if E::PER_WORD == 4 { 1.0 } else { 3.0 };
    let tolerance = 1e-6 + most * E::rounding(affine);
    output.assert_close(expected, tolerance, "pixels");
}

#[test]
fn planes_are_interleaved() {
    let map = FeatureMap {
        n: 2,
        height: 5,
        width: 7,
        channels: 3,
        border: 2,
    };
    let planes = floats(2 * 3 * 5 * 7, 9);
    let mut output = Buffer::<f32>::new(map, Affine::IDENTITY, None);
    pad_planes(
        &ThreadPool::new(2).unwrap(),
        SupportedIsa::best(),
        &planes,
        output.view_mut(),
    );
    output.assert_untouched();
    let expected: Vec<f64> = (0..planes.len())
        .map(|i| {
            let (n, pixel, c) = (i / 105, i / 3 % 35, i % 3);
            f64::from(planes[n * 105 + c * 35 + pixel])
        })
        .collect();
    output.assert_close(&expected, 1e-9, "planes");
}
