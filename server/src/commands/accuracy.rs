//! Shares of images with their confidence intervals.

use serde::Serialize;

/// A share of images in percent with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// The share.
    pub percent: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

impl Accuracy {
    /// `correct` of `images`, with Wilson's score interval (1927), which stays
    /// between 0 and 100 % for few images and for extreme shares.
    #[must_use]
    pub fn of(correct: usize, images: usize) -> Self {
        if images == 0 {
            return Self {
                percent: 0.0,
                low: 0.0,
                high: 100.0,
            };
        }
        const Z: f64 = 1.959_964; // the 97.5 % quantile of the normal distribution
        let (n, p) = (images as f64, correct as f64 / images as f64);
        let centre = p + Z * Z / (2.0 * n);
        let margin = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 100.0 / (1.0 + Z * Z / n);
        Self {
            percent: 100.0 * p,
            low: (centre - margin) * scale,
            high: (centre + margin) * scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_confidence_interval_is_wilsons() {
        // 80 of 100: 71.11 to 86.66 by Wilson's formula
        let Accuracy { percent, low, high } = Accuracy::of(80, 100);
        assert!((percent - 80.0).abs() < 1e-9);
        assert!((low - 71.11).abs() < 0.01, "{low}");
        assert!((high - 86.66).abs() < 0.01, "{high}");
        assert_eq!(Accuracy::of(10, 10).high.round(), 100.0);
    }
}
