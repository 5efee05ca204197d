//! A histogram of activations, from which calibration chooses the range that is
//! quantized to 8 bits.

use crate::cpu::Affine;

/// Bins on each side of 0.
const HALF: usize = 2048;

/// Counts of values in bins of equal width over `-limit..limit`. The limit
/// doubles until the largest value is in range.
pub(crate) struct Histogram {
    limit: f32,
    bins: Vec<u64>,
    /// The smallest value, at most 0.
    low: f32,
    /// The largest value, at least 0.
    high: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            limit: 1.0 / 64.0,
            bins: vec![0; 2 * HALF],
            low: 0.0,
            high: 0.0,
        }
    }
}

impl Histogram {
    /// Counts the finite ones of `values`.
    pub(crate) fn add(&mut self, values: &[f32]) {
        for &x in values.iter().filter(|x| x.is_finite()) {
            while x.abs() >= self.limit {
                self.double();
            }
            let at = (x / self.limit + 1.0) * HALF as f32;
            self.bins[(at as usize).min(2 * HALF - 1)] += 1;
            (self.low, self.high) = (self.low.min(x), self.high.max(x));
        }
    }

    /// Doubles the limit: each pair of bins becomes one bin.
    fn double(&mut self) {
        let old = std::mem::replace(&mut self.bins, vec![0; 2 * HALF]);
        for (i, count) in old.into_iter().enumerate() {
            self.bins[HALF / 2 + i / 2] += count;
        }
        self.limit *= 2.0;
    }

    /// The range with the smallest squared quantization error. The candidates are
    /// the range of all values, scaled by 16/64, 17/64, ..., 1. A smaller range
    /// clips rare outliers, but has a finer step for all other values.
    pub(crate) fn best_range(&self) -> [f32; 2] {
        let fraction = |i: u8| f32::from(i) / 64.0;
        let candidates = (16..=64).map(|i| [self.low * fraction(i), self.high * fraction(i)]);
        let best = candidates.min_by(|a, b| self.error(*a).total_cmp(&self.error(*b)));
        best.unwrap_or([self.low, self.high])
    }

    /// The sum of the squared errors of all values if `low..=high` is quantized to
    /// 256 levels: the clipping error outside the range, and the mean rounding
    /// error, step² / 12, for every value.
    fn error(&self, [low, high]: [f32; 2]) -> f64 {
        let step = f64::from(Affine::covering(low, high).scale);
        let (low, high) = (f64::from(low), f64::from(high));
        let width = f64::from(self.limit) / HALF as f64;
        let bins = self
            .bins
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        bins.map(|(i, &count)| {
            let x = (i as f64 + 0.5 - HALF as f64) * width;
            let outside = (low - x).max(x - high).max(0.0);
            count as f64 * (outside * outside + step * step / 12.0)
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_outliers_are_clipped_and_uniform_values_are_not() {
        let mut histogram = Histogram::default();
        let uniform: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        histogram.add(&uniform);
        let [low, high] = histogram.best_range();
        assert!(low == 0.0 && high > 0.98, "{low} {high}");
        for _ in 0..50 {
            histogram.add(&uniform);
        }
        histogram.add(&[3.5]);
        let [_, high] = histogram.best_range();
        assert!((0.9..1.8).contains(&high), "{high}");
    }

    #[test]
    fn doubling_the_limit_keeps_all_counts() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.01, -0.01, 100.0, -7.0]);
        assert_eq!(histogram.bins.iter().sum::<u64>(), 4);
        assert_eq!((histogram.low, histogram.high), (-7.0, 100.0));
    }
}
