//! The most probable classes of an image, with their probabilities.

/// A class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Position among the network's outputs.
    pub index: usize,
    /// Softmax probability, 0 to 1.
    pub probability: f64,
}

/// The `k` most probable classes of `logits` `[classes]`, best first; equal
/// logits keep the order of their classes.
///
/// The softmax is taken in f64 over all classes, shifted by the largest logit
/// so that no exponential overflows.
#[must_use]
pub fn top_k(logits: &[f32], k: usize) -> Vec<Score> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |logit: f32| f64::from(logit - largest).exp();
    let sum: f64 = logits.iter().map(|&logit| exp(logit)).sum();

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
        probability: exp(logits[index]) / sum,
    };
    order.into_iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax() {
        // exp(1), exp(2), exp(3) over their sum, from the definition.
        let sum = 1_f64.exp() + 2_f64.exp() + 3_f64.exp();
        let scores = top_k(&[1.0, 3.0, 2.0], 3);
        let expected = [(1, 3_f64), (2, 2.0), (0, 1.0)];
        for (score, (index, logit)) in scores.iter().zip(expected) {
            assert_eq!(score.index, index);
            assert!((score.probability - logit.exp() / sum).abs() < 1e-12);
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let scores = top_k(&[1000.0, 999.0, -1000.0], 1);
        assert!((scores[0].probability - 1.0 / (1.0 + (-1_f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn the_best_k_in_order_as_a_full_sort_gives_them() {
        let logits: Vec<f32> = (0..997_u32).map(|i| ((i * 7919) % 101) as f32).collect();
        let mut sorted: Vec<usize> = (0..logits.len()).collect();
        sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        for k in [1, 5, 100, 996, 997, 2000] {
            let found: Vec<usize> = top_k(&logits, k).iter().map(|s| s.index).collect();
            assert_eq!(found, sorted[..k.min(997)], "k = {k}");
        }
    }
}
