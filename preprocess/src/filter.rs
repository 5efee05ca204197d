//! The filter weights of Pillow's antialiased resize (`precompute_coeffs` in its
//! `Resample.c`), in the same fixed point.

use std::f64::consts::PI;
use std::ops::Range;

use weights::Interpolation;

use crate::crop::CropAxis;

/// Fractional bits of a weight. Of the 32 bits of a sum, 8 hold the pixel and 2
/// the sign and the overshoot of filters with negative lobes.
pub(crate) const PRECISION: u32 = 32 - 8 - 2;

/// The filter weights of every resized pixel inside the crop, along one axis.
pub(crate) struct FilterTaps {
    /// For each resized pixel, its first source pixel and the index of its first
    /// weight.
    starts: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

/// The relation of resized pixels to source pixels along one axis.
#[derive(Clone, Copy)]
struct Sampling {
    filter: Interpolation,
    /// Source pixels per resized pixel.
    scale: f64,
    /// The number of source pixels.
    source: usize,
}

impl Sampling {
    /// `length` is the exact length of the source in pixels; `source` is the
    /// number of its pixels. They differ after a reduced-size JPEG decode, which
    /// rounds up.
    fn new(axis: CropAxis, length: f64, source: usize, filter: Interpolation) -> Self {
        Self {
            filter,
            scale: length / axis.resized as f64,
            source,
        }
    }

    /// The source pixels that resized pixel `at` depends on, and the centre of
    /// the filter.
    fn window(self, at: u64) -> (Range<usize>, f64) {
        let centre = (at as f64 + 0.5) * self.scale;
        if self.filter == Interpolation::Nearest {
            let nearest = (centre as usize).min(self.source - 1);
            return (nearest..nearest + 1, centre);
        }
        let support = support(self.filter) * self.scale.max(1.0);
        let start = ((centre - support + 0.5).max(0.0) as usize).min(self.source - 1);
        let end = ((centre + support + 0.5) as usize).clamp(start + 1, self.source);
        (start..end, centre)
    }
}

/// The source pixels that the crop depends on along `axis` (parameters as for
/// [`FilterTaps::new`]). The start is rounded down to a multiple of four because
/// one chroma sample covers up to four pixels.
pub(crate) fn source_range(
    axis: CropAxis,
    length: f64,
    source: usize,
    filter: Interpolation,
) -> Range<usize> {
    let sampling = Sampling::new(axis, length, source, filter);
    let last = axis.first + u64::from(axis.length).saturating_sub(1);
    sampling.window(axis.first).0.start / 4 * 4..sampling.window(last).0.end
}

impl FilterTaps {
    /// The weights of every resized pixel inside the crop. `length` is the exact
    /// length of the source in pixels, `source` the number of its pixels.
    pub(crate) fn new(axis: CropAxis, length: f64, source: usize, filter: Interpolation) -> Self {
        let sampling = Sampling::new(axis, length, source, filter);
        let mut taps = Self {
            starts: Vec::with_capacity(axis.length as usize),
            weights: Vec::new(),
        };
        let stretch = sampling.scale.max(1.0);
        let mut weights = Vec::new();
        for at in axis.first..axis.first + u64::from(axis.length) {
            let (window, centre) = sampling.window(at);
            let first = window.start;
            weights.clear();
            weights.extend(window.map(|x| weight(filter, (x as f64 - centre + 0.5) / stretch)));
            let sum: f64 = weights.iter().sum();
            let one = f64::from(1 << PRECISION);
            let fixed = weights
                .iter()
                .map(|weight| (weight / sum * one).round() as i32);
            // Weights at the ends of the window can be zero: leave them out.
            let zeros = fixed.clone().take_while(|&weight| weight == 0).count();
            taps.starts.push((first + zeros, taps.weights.len()));
            taps.weights.extend(fixed.skip(zeros));
            while taps.weights.last() == Some(&0) {
                taps.weights.pop();
            }
        }
        taps
    }

    /// The number of resized pixels.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The first source pixel and the weights of each resized pixel.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.starts.iter().enumerate().map(|(i, &(start, from))| {
            let to = self.starts.get(i + 1).map_or(self.weights.len(), |s| s.1);
            (start, &self.weights[from..to])
        })
    }
}

/// The radius of a filter, in resized pixels.
fn support(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Nearest => 0.5,
        Interpolation::Bilinear => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// The value of a filter at a distance of `x` resized pixels from its centre.
fn weight(filter: Interpolation, x: f64) -> f64 {
    let x = x.abs();
    match filter {
        Interpolation::Nearest => 1.0,
        Interpolation::Bilinear => (1.0 - x).max(0.0),
        // Keys 1981, with a = -0.5
        Interpolation::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Interpolation::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Interpolation::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        Interpolation::Bicubic | Interpolation::Lanczos => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside_the_source_range() {
        let axis = CropAxis {
            resized: 341,
            first: 58,
            length: 224,
            padding: 0,
        };
        for filter in [
            Interpolation::Nearest,
            Interpolation::Bilinear,
            Interpolation::Bicubic,
            Interpolation::Lanczos,
        ] {
            for (length, source) in [(500.0, 500), (40.5, 41), (2000.0, 2000)] {
                let taps = FilterTaps::new(axis, length, source, filter);
                let range = source_range(axis, length, source, filter);
                assert_eq!(taps.len(), 224);
                for (start, weights) in taps.iter() {
                    assert!(range.start <= start && start + weights.len() <= range.end);
                    let sum: i32 = weights.iter().sum();
                    assert!((sum - (1 << PRECISION)).abs() <= 20, "{filter:?}: {sum}");
                }
            }
        }
    }

    #[test]
    fn halving_with_the_bilinear_filter_has_four_triangle_weights() {
        let axis = CropAxis {
            resized: 4,
            first: 1,
            length: 1,
            padding: 0,
        };
        // The centre is at 3.0; pixels at distances 1.5 and 0.5 have weights 1 : 3.
        let taps = FilterTaps::new(axis, 8.0, 8, Interpolation::Bilinear);
        let one = 1 << PRECISION;
        let (start, weights) = taps.iter().next().unwrap();
        assert_eq!(
            (start, weights),
            (1, &[one / 8, one / 8 * 3, one / 8 * 3, one / 8][..])
        );
    }
}
