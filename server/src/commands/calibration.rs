//! How well the probabilities of a network agree with its accuracy, and the
//! temperature that makes them agree (Guo et al. 2017, "On Calibration of
//! Modern Neural Networks").

use serde::Serialize;
use weights::Activation;

use crate::core::top_k::Scale;

/// The intervals of confidence of the expected calibration error.
const BINS: usize = 15;

/// The temperatures that can be fitted.
const LOWEST: f64 = 0.01;
const HIGHEST: f64 = 100.0;

/// The images of one interval of confidence.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    images: usize,
    correct: usize,
    confidence: f64,
}

/// Statistics of labelled images at one temperature.
#[derive(Clone, Debug)]
pub struct Reliability {
    temperature: f64,
    bins: [Bin; BINS],
    nll: f64,
}

/// The figures of a [`Reliability`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Expected calibration error with 15 bins, from 0 to 1: the mean distance
    /// of confidence and accuracy.
    pub ece: f64,
    /// Mean negative log-likelihood of the right class, in nats.
    pub nll: f64,
}

impl Reliability {
    /// No images yet.
    #[must_use]
    pub fn new(temperature: f64) -> Self {
        Self {
            temperature,
            bins: [Bin::default(); BINS],
            nll: 0.0,
        }
    }

    /// Adds an image of class `class` with these `logits` `[classes]`.
    pub fn add(&mut self, logits: &[f32], class: usize) {
        let scale = Scale {
            activation: Activation::Softmax,
            temperature: self.temperature,
        };
        let probabilities = scale.values(logits);
        let better = |best: usize, i: usize| match probabilities[i] > probabilities[best] {
            true => i,
            false => best,
        };
        let best = (0..probabilities.len()).fold(0, better);
        let confidence = probabilities[best];
        // The intervals are closed above, as in the paper; a confidence is above 0.
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let bin = &mut self.bins[bin];
        bin.images += 1;
        bin.correct += usize::from(best == class);
        bin.confidence += confidence;
        self.nll += Moments::of(logits, 1.0 / self.temperature).nll(logits, class);
    }

    /// The figures of the images so far; zeros without any.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let images: usize = self.bins.iter().map(|bin| bin.images).sum();
        let images = images.max(1) as f64;
        let gap = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
        Figures {
            ece: self.bins.iter().map(gap).sum::<f64>() / images,
            nll: self.nll / images,
        }
    }
}

/// The softmax of `logits * inverse` as far as its likelihood needs it.
struct Moments {
    inverse: f64,
    /// The logarithm of the sum of the exponentials.
    log_sum: f64,
    /// Mean and variance of the logits under the softmax.
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(logits: &[f32], inverse: f64) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = f64::from(largest);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for &logit in logits {
            let distance = f64::from(logit) - largest;
            let weight = (distance * inverse).exp();
            sum += weight;
            first += weight * distance;
            second += weight * distance * distance;
        }
        let mean = first / sum;
        Self {
            inverse,
            log_sum: largest * inverse + sum.ln(),
            mean: mean + largest,
            variance: second / sum - mean * mean,
        }
    }

    fn nll(&self, logits: &[f32], class: usize) -> f64 {
        self.log_sum - f64::from(logits[class]) * self.inverse
    }
}

/// Why there is no best temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The likelihood grows without end as the temperature falls.
    #[error(
        "every image has its right class as the best one by far, so no temperature is the best; \
         use more images, and images that the network was not trained on"
    )]
    TooEasy,
    /// The likelihood grows without end as the temperature rises.
    #[error(
        "the network is no better than chance on these images, so no temperature is the best; \
         check that the classes of the images are right"
    )]
    TooHard,
}

/// The temperature with the lowest negative log-likelihood on images with these
/// logits and classes.
///
/// In the inverse temperature `b`, the likelihood is convex. Newton's method
/// finds the root of its derivative, the sum over all images of
///
/// ```text
/// E[z] - z[class],   E over softmax(b z),   with the derivative Var[z]
/// ```
///
/// and bisection replaces the steps that leave the interval of the root.
///
/// # Errors
/// No temperature from 0.01 to 100 is the best.
pub fn fit(images: &[(Vec<f32>, usize)]) -> Result<f64, FitError> {
    let slope = |inverse: f64| {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (logits, class) in images {
            let moments = Moments::of(logits, inverse);
            slope += moments.mean - f64::from(logits[*class]);
            curvature += moments.variance;
        }
        (slope, curvature)
    };
    let (mut low, mut high) = (1.0 / HIGHEST, 1.0 / LOWEST);
    if slope(low).0 >= 0.0 {
        return Err(FitError::TooHard);
    }
    if slope(high).0 <= 0.0 {
        return Err(FitError::TooEasy);
    }
    let mut inverse = 1.0;
    // Bisection alone needs 60 halvings for the precision of f64.
    for _ in 0..60 {
        let (slope, curvature) = slope(inverse);
        if slope > 0.0 {
            high = inverse;
        } else {
            low = inverse;
        }
        let newton = inverse - slope / curvature;
        let next = match newton > low && newton < high {
            true => newton,
            false => f64::midpoint(low, high),
        };
        if (next - inverse).abs() <= 1e-12 * inverse {
            break;
        }
        inverse = next;
    }
    Ok(1.0 / inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `right` images of a hundred have logit `logit` for their class and 0
    /// for another one, the others the other way round.
    fn hundred(logit: f32, right: usize) -> Vec<(Vec<f32>, usize)> {
        let image = |i| (vec![logit, 0.0], usize::from(i >= right));
        (0..100).map(image).collect()
    }

    fn figures(images: &[(Vec<f32>, usize)], temperature: f64) -> Figures {
        let mut reliability = Reliability::new(temperature);
        for (logits, class) in images {
            reliability.add(logits, *class);
        }
        reliability.figures()
    }

    #[test]
    fn the_temperature_makes_confidence_and_accuracy_equal() {
        // With two classes and one logit x, the likelihood is greatest where
        // 1 / (1 + exp(-x / T)) is the accuracy a: T = x / ln(a / (1 - a)).
        for (logit, right) in [(5.0, 80), (0.5, 80), (2.0, 99), (3.0, 51)] {
            let images = hundred(logit, right);
            let accuracy = right as f64 / 100.0;
            let expected = f64::from(logit) / (accuracy / (1.0 - accuracy)).ln();
            let found = fit(&images).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{found}, {expected}");
            let entropy = -accuracy * accuracy.ln() - (1.0 - accuracy) * (1.0 - accuracy).ln();
            let after = figures(&images, found);
            assert!(after.ece < 1e-9, "{after:?}");
            assert!((after.nll - entropy).abs() < 1e-9, "{after:?}");
            let before = figures(&images, 1.0);
            assert!(before.nll > after.nll && before.ece > 0.005, "{before:?}");
        }
    }

    #[test]
    fn the_calibration_error_is_the_gap_of_each_bin() {
        // Confidences 0.9 (all right) and 0.6 (none right): gaps 0.1 and 0.6.
        let with = |confidence: f64, class| {
            let logit = (confidence / (1.0 - confidence)).ln() as f32;
            (vec![logit, 0.0], class)
        };
        let images = [with(0.9, 0), with(0.9, 0), with(0.6, 1), with(0.6, 1)];
        let Figures { ece, nll } = figures(&images, 1.0);
        assert!((ece - 0.35).abs() < 1e-6, "{ece}");
        let expected = -(2.0 * 0.9_f64.ln() + 2.0 * 0.4_f64.ln()) / 4.0;
        assert!((nll - expected).abs() < 1e-6, "{nll}");
        assert_eq!(figures(&[], 1.0), Figures { ece: 0.0, nll: 0.0 });
    }

    #[test]
    fn extreme_logits_have_a_finite_likelihood() {
        let Figures { nll, .. } = figures(&[(vec![2000.0, 0.0], 1)], 1.0);
        assert!((nll - 2000.0).abs() < 1e-9, "{nll}");
    }

    #[test]
    fn without_a_best_temperature_there_is_an_error() {
        assert_eq!(fit(&hundred(5.0, 100)), Err(FitError::TooEasy));
        assert_eq!(fit(&hundred(5.0, 40)), Err(FitError::TooHard));
        assert_eq!(fit(&hundred(0.0, 60)), Err(FitError::TooHard));
    }
}
