//! The weights of Pillow's antialiased filters (`precompute_coeffs` of its
//! `Resample.c`), in its fixed point: what a resized pixel is made of.

use std::f64::consts::PI;
use std::ops::Range;

use weights::Interpolation;

use super::crop::Side;

/// Fractional bits of a weight: 8 for the pixel, 2 for the sign and for sums
/// that overshoot, the rest of an `i32`.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// How the kept part of a side comes out of the stored pixels.
pub(super) struct Taps {
    /// First stored pixel of each kept one, and where its weights begin.
    starts: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

/// One side's way from stored to resized pixels.
#[derive(Clone, Copy)]
struct Scale {
    filter: Interpolation,
    /// Stored pixels to a resized one.
    scale: f64,
    /// Stored pixels that there are.
    stored: usize,
}

impl Scale {
    /// The photo is `length` pixels long, of which `stored` whole ones exist:
    /// a scaled decode rounds up.
    fn new(side: Side, length: f64, stored: usize, filter: Interpolation) -> Self {
        Self {
            filter,
            scale: length / side.resized as f64,
            stored,
        }
    }

    /// The stored pixels under resized pixel `at`, and their middle.
    fn under(self, at: u64) -> (Range<usize>, f64) {
        let centre = (at as f64 + 0.5) * self.scale;
        if self.filter == Interpolation::Nearest {
            let one = (centre as usize).min(self.stored - 1);
            return (one..one + 1, centre);
        }
        let support = support(self.filter) * self.scale.max(1.0);
        let from = ((centre - support + 0.5).max(0.0) as usize).min(self.stored - 1);
        let to = ((centre + support + 0.5) as usize).clamp(from + 1, self.stored);
        (from..to, centre)
    }
}

/// The stored pixels that the kept part of `side` is made of (see
/// [`Taps::new`]), from a multiple of four on: chroma has a sample for up to
/// four pixels.
pub(super) fn reach(side: Side, length: f64, stored: usize, filter: Interpolation) -> Range<usize> {
    let scale = Scale::new(side, length, stored, filter);
    let last = side.first + u64::from(side.kept).saturating_sub(1);
    scale.under(side.first).0.start / 4 * 4..scale.under(last).0.end
}

impl Taps {
    /// The weights of each kept pixel of `side`. The photo is `length` pixels
    /// long, of which `stored` whole ones exist.
    pub(super) fn new(side: Side, length: f64, stored: usize, filter: Interpolation) -> Self {
        let scale = Scale::new(side, length, stored, filter);
        let mut taps = Self {
            starts: Vec::with_capacity(side.kept as usize),
            weights: Vec::new(),
        };
        let stretch = scale.scale.max(1.0);
        let mut weights = Vec::new();
        for at in side.first..side.first + u64::from(side.kept) {
            let (under, centre) = scale.under(at);
            let first = under.start;
            weights.clear();
            weights.extend(under.map(|x| weight(filter, (x as f64 - centre + 0.5) / stretch)));
            let sum: f64 = weights.iter().sum();
            let one = f64::from(1 << PRECISION);
            let fixed = weights
                .iter()
                .map(|weight| (weight / sum * one).round() as i32);
            // At the edges of the filter some are nothing.
            let before = fixed.clone().take_while(|&weight| weight == 0).count();
            taps.starts.push((first + before, taps.weights.len()));
            taps.weights.extend(fixed.skip(before));
            while taps.weights.last() == Some(&0) {
                taps.weights.pop();
            }
        }
        taps
    }

    /// How many pixels are made.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// For each pixel that is made, the first stored one and the weights.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.starts.iter().enumerate().map(|(i, &(start, from))| {
            let to = self.starts.get(i + 1).map_or(self.weights.len(), |s| s.1);
            (start, &self.weights[from..to])
        })
    }
}

/// How far a filter reaches, in resized pixels.
fn support(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Nearest => 0.5,
        Interpolation::Bilinear => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// The filter's value `x` resized pixels from its middle.
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
    fn the_weights_of_a_pixel_are_one_and_within_reach() {
        let side = Side {
            resized: 341,
            first: 58,
            kept: 224,
            pad: 0,
        };
        for filter in [
            Interpolation::Nearest,
            Interpolation::Bilinear,
            Interpolation::Bicubic,
            Interpolation::Lanczos,
        ] {
            for (length, stored) in [(500.0, 500), (40.5, 41), (2000.0, 2000)] {
                let taps = Taps::new(side, length, stored, filter);
                let reach = reach(side, length, stored, filter);
                assert_eq!(taps.len(), 224);
                for (start, weights) in taps.iter() {
                    assert!(reach.start <= start && start + weights.len() <= reach.end);
                    let sum: i32 = weights.iter().sum();
                    assert!((sum - (1 << PRECISION)).abs() <= 20, "{filter:?}: {sum}");
                }
            }
        }
    }

    #[test]
    fn shrinking_to_half_has_a_triangle_of_four() {
        let side = Side {
            resized: 4,
            first: 1,
            kept: 1,
            pad: 0,
        };
        // by hand: the middle is at 3, pixels 1.5 and 0.5 from it weigh 1 : 3
        let taps = Taps::new(side, 8.0, 8, Interpolation::Bilinear);
        let one = 1 << PRECISION;
        let (start, weights) = taps.iter().next().unwrap();
        assert_eq!(
            (start, weights),
            (1, &[one / 8, one / 8 * 3, one / 8 * 3, one / 8][..])
        );
    }
}
