//! Compares blur pooling with its definition.

use super::*;
use crate::threads::ThreadPool;

fn check<E: TestElement>(from: FeatureMap, x: &[f32], affine: Affine) {
    let threads = ThreadPool::new(2).unwrap();
    let to = FeatureMap {
        height: from.height.div_ceil(2),
        width: from.width.div_ceil(2),
        border: 1,
        ..from
    };
    let x = rounded::<E>(x, affine);
    // pixel `offset - 1` beside pixel `2 i`, reflected
    let at = |i: usize, offset: usize, side: usize| match (2 * i + offset).checked_sub(1) {
        None => 1.min(side - 1),
        Some(at) if at < side => at,
        Some(_) => side.saturating_sub(2),
    };
    let filtered = |i: usize| {
        let (c, i) = (i % from.channels, i / from.channels);
        let (column, i) = (i % to.width, i / to.width);
        let (row, n) = (i % to.height, i / to.height);
        let taps = (0..9).map(|k| {
            let y = at(row, k / 3, from.height);
            let z = at(column, k % 3, from.width);
            let value = x[((n * from.height + y) * from.width + z) * from.channels + c];
            [1.0, 2.0, 1.0][k / 3] * [1.0, 2.0, 1.0][k % 3] * f64::from(value)
        });
        taps.sum::<f64>() / 16.0
    };
    let count = to.n * to.height * to.width * to.channels;
    let expected: Vec<f64> = (0..count).map(filtered).collect();
    for isa in SupportedIsa::all() {
        let input = Buffer::<E>::new(from, affine, Some(&x));
        let mut output = Buffer::<E>::new(to, affine, None);
        blur_pool(&threads, isa, input.view(), output.view_mut());
        output.assert_untouched();
        output.assert_close(&expected, 1e-6, "blur");
    }
}

#[test]
fn blur_pools_match_their_definition() {
    for (n, height, width, channels) in [
        (1, 1, 1, 3),
        (2, 2, 3, 16),
        (1, 7, 4, 35),
        (3, 5, 6, 8),
        (1, 1, 9, 40),
    ] {
        let from = FeatureMap {
            n,
            height,
            width,
            channels,
            border: 1,
        };
        let x = floats(n * height * width * channels, 11);
        check::<f32>(from, &x, Affine::IDENTITY);
        check::<bf16>(from, &x, Affine::IDENTITY);
        check::<u8>(from, &x, Affine::covering(-1.0, 1.0));
    }
}
