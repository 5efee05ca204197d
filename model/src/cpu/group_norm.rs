//! Group norm (Wu and He 2018), with the residual and the ReLU that follow it.

use super::conv_spec::Activation;
use super::element::Element;
use super::feature_map::{SendPtr, View, ViewMut};
use crate::graph::NORM_EPSILON;
use crate::threads::ThreadPool;

/// The parameters of a group norm.
pub(crate) struct GroupNorm<'a> {
    /// Number of groups of channels.
    pub(crate) groups: usize,
    /// `[C]`
    pub(crate) scale: &'a [f32],
    /// `[C]`
    pub(crate) shift: &'a [f32],
    pub(crate) activation: Activation,
}

/// `y = act((x - mean) / sqrt(var + epsilon) * scale[c] + shift[c] + residual)`,
/// with mean and variance over the pixels and channels of each group of an image.
pub(crate) fn group_norm<E: Element>(
    threads: &ThreadPool,
    norm: GroupNorm,
    (input, residual): (View<E>, Option<View<E>>),
    mut output: ViewMut<E>,
) {
    let (map, to) = (*output.map(), output.affine());
    let factors = factors(&norm, &statistics(threads, norm.groups, input));
    output.for_each_row(threads, |n, y, row| {
        let factors = &factors[n * map.channels..(n + 1) * map.channels];
        let residual = residual.map(|view| (view.row(n, y), view.affine()));
        let inputs = input.row(n, y).chunks_exact(map.channels);
        for (pixel, (out, x)) in row.chunks_exact_mut(map.channels).zip(inputs).enumerate() {
            for (c, ((out, x), (a, b))) in out.iter_mut().zip(x).zip(factors).enumerate() {
                let normed = x.to_f32(input.affine()) * a + b;
                let added = residual.map_or(0.0, |(row, affine)| {
                    row[pixel * map.channels + c].to_f32(affine)
                });
                *out = E::from_f32(norm.activation.apply(normed + added), to);
            }
        }
    });
}

/// Mean and variance of each group of each image: `[n, groups]`.
fn statistics<E: Element>(threads: &ThreadPool, groups: usize, input: View<E>) -> Vec<(f64, f64)> {
    let map = *input.map();
    let size = map.channels / groups;
    // per row and group: the sum of the values and of their squares. They are added
    // in the order of the rows, so that the result does not depend on the threads.
    let mut sums = vec![(0.0, 0.0); map.n * map.height * groups];
    let shared = SendPtr::new(sums.as_mut_ptr());
    threads.for_each(map.n * map.height, |i, _| {
        // SAFETY: each row has its own part of `sums`, which lives until the end of the
        // loop.
        let sums = unsafe { std::slice::from_raw_parts_mut(shared.get().add(i * groups), groups) };
        let mut channels = vec![(0.0, 0.0); map.channels];
        let row = input.row(i / map.height, i % map.height);
        for pixel in row.chunks_exact(map.channels) {
            for ((sum, squares), x) in channels.iter_mut().zip(pixel) {
                let x = f64::from(x.to_f32(input.affine()));
                *sum += x;
                *squares += x * x;
            }
        }
        for (total, group) in sums.iter_mut().zip(channels.chunks_exact(size)) {
            *total = group.iter().fold((0.0, 0.0), add);
        }
    });
    let count = (map.height * map.width * size) as f64;
    let of_image = |image: &[(f64, f64)], group: usize| {
        let rows = image.iter().skip(group).step_by(groups);
        let (sum, squares) = rows.fold((0.0, 0.0), add);
        let mean = sum / count;
        (mean, (squares / count - mean * mean).max(0.0))
    };
    sums.chunks_exact(map.height * groups)
        .flat_map(|image| (0..groups).map(move |group| of_image(image, group)))
        .collect()
}

fn add(a: (f64, f64), b: &(f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// For each image and channel, the factors of `x * a + b`.
fn factors(norm: &GroupNorm, statistics: &[(f64, f64)]) -> Vec<(f32, f32)> {
    let size = norm.scale.len() / norm.groups;
    let of_group = |(i, &(mean, var)): (usize, &(f64, f64))| {
        let deviation = (var + NORM_EPSILON).sqrt();
        let first = i % norm.groups * size;
        (first..first + size).map(move |c| {
            let a = f64::from(norm.scale[c]) / deviation;
            (a as f32, (f64::from(norm.shift[c]) - mean * a) as f32)
        })
    };
    statistics.iter().enumerate().flat_map(of_group).collect()
}
