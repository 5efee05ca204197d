//! The best classes of an image, with their probabilities.

use weights::Activation;

/// A class and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Position among the network's outputs.
    pub index: usize,
    /// The output after the activation: a probability, 0 to 1, or with
    /// [`Activation::None`] the output itself.
    pub value: f64,
}

/// The `k` classes with the largest `logits` `[classes]`, best first; equal
/// logits keep the order of their classes.
#[must_use]
pub fn top_k(logits: &[f32], activation: Activation, k: usize) -> Vec<Score> {
    let value = value_of(logits, activation);
    let better = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if k < order.len() {
        // Linear in the classes; only the k survivors are sorted.
        order.select_nth_unstable_by(k, better);
        order.truncate(k);
    }
    order.sort_unstable_by(better);
    let score = |index| Score {
        index,
        value: value(logits[index]),
    };
    order.into_iter().map(score).collect()
}

/// The function from a logit to its value, in f64. All three are monotonic, so
/// the order of the logits is the order of the values.
///
/// The softmax is taken over all classes, shifted by the largest logit so that
/// no exponential overflows.
fn value_of(logits: &[f32], activation: Activation) -> impl Fn(f32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = move |logit: f32| f64::from(logit - largest).exp();
    let sum: f64 = logits.iter().map(|&logit| exp(logit)).sum();
    move |logit| match activation {
        Activation::Softmax => exp(logit) / sum,
        Activation::Sigmoid => 1.0 / (1.0 + (-f64::from(logit)).exp()),
        Activation::None => f64::from(logit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_the_activation() {
        // exp(1), exp(2), exp(3) over their sum, from the definition.
        let sum = 1_f64.exp() + 2_f64.exp() + 3_f64.exp();
        let logits = [1.0, 3.0, 2.0];
        type Definition<'a> = &'a dyn Fn(f64) -> f64;
        let definitions: [(Activation, Definition); 3] = [
            (Activation::Softmax, &|logit| logit.exp() / sum),
            (Activation::Sigmoid, &|logit| {
                logit.exp() / (1.0 + logit.exp())
            }),
            (Activation::None, &|logit| logit),
        ];
        for (activation, definition) in definitions {
            let scores = top_k(&logits, activation, 3);
            for (score, (index, logit)) in scores.iter().zip([(1, 3.0), (2, 2.0), (0, 1.0)]) {
                assert_eq!(score.index, index);
                let error = score.value - definition(logit);
                assert!(error.abs() < 1e-12, "{activation:?}: {score:?}");
            }
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let scores = top_k(&[1000.0, 999.0, -1000.0], Activation::Softmax, 1);
        assert!((scores[0].value - 1.0 / (1.0 + (-1_f64).exp())).abs() < 1e-12);
        let scores = top_k(&[1000.0, -1000.0], Activation::Sigmoid, 2);
        assert_eq!((scores[0].value, scores[1].value), (1.0, 0.0));
    }

    #[test]
    fn the_best_k_in_order_as_a_full_sort_gives_them() {
        let logits: Vec<f32> = (0..997_u32).map(|i| ((i * 7919) % 101) as f32).collect();
        let mut sorted: Vec<usize> = (0..logits.len()).collect();
        sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        for k in [1, 5, 100, 996, 997, 2000] {
            let scores = top_k(&logits, Activation::Softmax, k);
            let found: Vec<usize> = scores.iter().map(|s| s.index).collect();
            assert_eq!(found, sorted[..k.min(997)], "k = {k}");
        }
    }
}
