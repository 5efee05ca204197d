//! How often values of each size occur, and the range that 8-bit numbers had
//! best cover.

use crate::cpu::Affine;

/// Bins on each side of 0.
const HALF: usize = 2048;

/// Counts of values in equal bins over `-reach..reach`; the reach doubles as
/// larger values come.
pub(crate) struct Histogram {
    reach: f32,
    bins: Vec<u64>,
    low: f32,
    high: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            reach: 1.0 / 64.0,
            bins: vec![0; 2 * HALF],
            low: 0.0,
            high: 0.0,
        }
    }
}

impl Histogram {
    /// Counts some values.
    pub(crate) fn add(&mut self, values: &[f32]) {
        for &x in values.iter().filter(|x| x.is_finite()) {
            while x.abs() >= self.reach {
                self.double();
            }
            let at = (x / self.reach + 1.0) * HALF as f32;
            self.bins[(at as usize).min(2 * HALF - 1)] += 1;
            (self.low, self.high) = (self.low.min(x), self.high.max(x));
        }
    }

    /// Twice the reach: two bins become one.
    fn double(&mut self) {
        let old = std::mem::replace(&mut self.bins, vec![0; 2 * HALF]);
        for (i, count) in old.into_iter().enumerate() {
            self.bins[HALF / 2 + i / 2] += count;
        }
        self.reach *= 2.0;
    }

    /// The range, of those that are parts of what was seen, over which 256
    /// numbers leave the least squared error: to leave out the rarest values
    /// is often worth finer steps for all others.
    pub(crate) fn best_range(&self) -> [f32; 2] {
        let part = |i: u8| f32::from(i) / 64.0;
        let candidates = (16..=64).map(|i| [self.low * part(i), self.high * part(i)]);
        let best = candidates.min_by(|a, b| self.error(*a).total_cmp(&self.error(*b)));
        best.unwrap_or([self.low, self.high])
    }

    /// The squared error of all values when 256 numbers cover `low..=high`.
    fn error(&self, [low, high]: [f32; 2]) -> f64 {
        let step = f64::from(Affine::covering(low, high).scale);
        let (low, high) = (f64::from(low), f64::from(high));
        let width = f64::from(self.reach) / HALF as f64;
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
    fn one_outlier_of_millions_is_left_out_and_even_values_are_kept() {
        let mut histogram = Histogram::default();
        let even: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        histogram.add(&even);
        let [low, high] = histogram.best_range();
        assert!(low == 0.0 && high > 0.98, "{low} {high}");
        for _ in 0..50 {
            histogram.add(&even);
        }
        histogram.add(&[3.5]);
        let [_, high] = histogram.best_range();
        assert!((0.9..1.8).contains(&high), "{high}");
    }

    #[test]
    fn growth_loses_no_count() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.01, -0.01, 100.0, -7.0]);
        assert_eq!(histogram.bins.iter().sum::<u64>(), 4);
        assert_eq!((histogram.low, histogram.high), (-7.0, 100.0));
    }
}
