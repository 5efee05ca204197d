//! Compares group norm with its definition.

use super::*;
use crate::graph::NORM_EPSILON;
use crate::threads::ThreadPool;

/// `y` without the activation: the definition, in f64.
fn expected(map: FeatureMap, groups: usize, x: &[f32], residual: Option<&[f32]>) -> Vec<f64> {
    let (pixels, size) = (map.height * map.width, map.channels / groups);
    let of_group = |i: usize| {
        let image = &x[i / groups * pixels * map.channels..][..pixels * map.channels];
        let members = image.iter().enumerate();
        let members = members.filter(|(at, _)| at % map.channels / size == i % groups);
        let values: Vec<f64> = members.map(|(_, &x)| f64::from(x)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|x| (x - mean).powi(2));
        (mean, squares.sum::<f64>() / values.len() as f64)
    };
    let statistics: Vec<(f64, f64)> = (0..map.n * groups).map(of_group).collect();
    let value = |(i, &x): (usize, &f32)| {
        let (c, n) = (i % map.channels, i / (pixels * map.channels));
        let (mean, var) = statistics[n * groups + c / size];
        let added = residual.map_or(0.0, |residual| f64::from(residual[i]));
        // scale c, shift -c
        (f64::from(x) - mean) / (var + NORM_EPSILON).sqrt() * c as f64 - c as f64 + added
    };
    x.iter().enumerate().map(value).collect()
}

#[test]
fn group_norms_match_their_definition() {
    for (n, height, width, channels, groups) in
        [(1, 1, 2, 4, 2), (2, 5, 3, 24, 4), (3, 4, 4, 32, 32)]
    {
        let map = FeatureMap {
            n,
            height,
            width,
            channels,
            border: 1,
        };
        let count = n * height * width * channels;
        let (x, added) = (floats(count, 12), floats(count, 13));
        let scale: Vec<f32> = (0..channels).map(|c| c as f32).collect();
        let shift: Vec<f32> = scale.iter().map(|c| -c).collect();
        for with_residual in [false, true] {
            let residual = with_residual.then_some(&added[..]);
            let expected = expected(map, groups, &x, residual);
            for activation in [Activation::None, Activation::Relu] {
                let input = Buffer::<f32>::new(map, Affine::IDENTITY, Some(&x));
                let residual = residual.map(|x| Buffer::new(map, Affine::IDENTITY, Some(x)));
                let mut output = Buffer::<f32>::new(map, Affine::IDENTITY, None);
                let norm = GroupNorm {
                    groups,
                    scale: &scale,
                    shift: &shift,
                    activation,
                };
                let inputs = (input.view(), residual.as_ref().map(Buffer::view));
                group_norm(
                    &ThreadPool::new(2).unwrap(),
                    norm,
                    inputs,
                    output.view_mut(),
                );
                output.assert_untouched();
                let floor = f64::from(activation.floor());
                let expected: Vec<f64> = expected.iter().map(|y| y.max(floor)).collect();
                output.assert_close(&expected, 1e-6, "group norm");
            }
        }
    }
}
