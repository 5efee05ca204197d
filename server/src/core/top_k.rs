//! The best classes of an image, and the probabilities of all.

use weights::Activation;

/// The `k` classes of `among` with the largest `logits` `[classes]`, best first;
/// equal logits keep the order of their classes.
#[must_use]
pub fn top_k(logits: &[f32], among: impl IntoIterator<Item = usize>, k: usize) -> Vec<usize> {
    let better = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let mut order: Vec<usize> = among.into_iter().collect();
    if k < order.len() {
        // Linear in the classes; only the k survivors are sorted.
        order.select_nth_unstable_by(k, better);
        order.truncate(k);
    }
    order.sort_unstable_by(better);
    order
}

/// What turns logits into the values of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The function.
    pub activation: Activation,
    /// What the logits are divided by before it (Guo et al. 2017, "On
    /// Calibration of Modern Neural Networks"); 1 changes nothing. The outputs
    /// of a regression are not divided.
    pub temperature: f64,
}

impl Scale {
    /// The values of all classes, from their `logits` `[classes]`: probabilities
    /// from 0 to 1, or with [`Activation::None`] the logits. In f64; the
    /// softmax is shifted by the largest logit so that no exponential overflows.
    ///
    /// All three functions are monotonic: the order of the logits is the order
    /// of the values.
    #[must_use]
    pub fn values(self, logits: &[f32]) -> Vec<f64> {
        let scaled = |logit: f32| f64::from(logit) / self.temperature;
        let each = |value: &dyn Fn(f32) -> f64| logits.iter().map(|&x| value(x)).collect();
        match self.activation {
            Activation::Softmax => {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut values: Vec<f64> = each(&|x| (scaled(x) - scaled(largest)).exp());
                let sum: f64 = values.iter().sum();
                values.iter_mut().for_each(|value| *value /= sum);
                values
            }
            Activation::Sigmoid => each(&|x| 1.0 / (1.0 + (-scaled(x)).exp())),
            Activation::None => each(&|x| f64::from(x)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(logits: &[f32], activation: Activation, temperature: f64) -> Vec<f64> {
        Scale {
            activation,
            temperature,
        }
        .values(logits)
    }

    #[test]
    fn the_values_are_those_of_the_activation() {
        // exp(1), exp(2), exp(3) over their sum, from the definition.
        let sum = 1_f64.exp() + 2_f64.exp() + 3_f64.exp();
        type Definition<'a> = &'a dyn Fn(f64) -> f64;
        let definitions: [(Activation, Definition); 3] = [
            (Activation::Softmax, &|logit| logit.exp() / sum),
            (Activation::Sigmoid, &|logit| {
                logit.exp() / (1.0 + logit.exp())
            }),
            (Activation::None, &|logit| logit),
        ];
        for (activation, definition) in definitions {
            let values = values(&[1.0, 3.0, 2.0], activation, 1.0);
            for (value, logit) in values.iter().zip([1.0, 3.0, 2.0]) {
                let error = value - definition(logit);
                assert!(error.abs() < 1e-12, "{activation:?}: {value}");
            }
        }
    }

    #[test]
    fn the_temperature_divides_the_logits_of_probabilities() {
        let logits = [1.0_f32, 3.0, -2.0];
        let halved = logits.map(|logit| logit / 2.0);
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            let (soft, expected) = (
                values(&logits, activation, 2.0),
                values(&halved, activation, 1.0),
            );
            for (a, b) in soft.iter().zip(&expected) {
                assert!(
                    (a - b).abs() < 1e-12,
                    "{activation:?}: {soft:?}, {expected:?}"
                );
            }
        }
        assert_eq!(values(&logits, Activation::None, 2.0), [1.0, 3.0, -2.0]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let soft = values(&[1000.0, 999.0, -1000.0], Activation::Softmax, 1.0);
        assert!((soft[0] - 1.0 / (1.0 + (-1_f64).exp())).abs() < 1e-12);
        assert_eq!(
            values(&[1000.0, -1000.0], Activation::Sigmoid, 1.0),
            [1.0, 0.0]
        );
    }

    #[test]
    fn the_best_k_in_order_as_a_full_sort_gives_them() {
        let logits: Vec<f32> = (0..997_u32).map(|i| ((i * 7919) % 101) as f32).collect();
        let mut sorted: Vec<usize> = (0..logits.len()).collect();
        sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        for k in [0, 1, 5, 100, 996, 997, 2000, usize::MAX] {
            let found = top_k(&logits, 0..997, k);
            assert_eq!(found, sorted[..k.min(997)], "k = {k}");
        }
        let even: Vec<usize> = sorted.iter().copied().filter(|i| i % 2 == 0).collect();
        assert_eq!(top_k(&logits, (0..997).step_by(2), 10), even[..10]);
    }
}
