//! The classes of an image with their values, as the APIs of other servers
//! return them: not rounded, and without a category.

use super::answer::Interpretation;
use super::top_k::top_k;

/// One class and its value: a probability, or the output of a regression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score<'a> {
    /// Position among the network's outputs.
    pub index: usize,
    /// Its name.
    pub label: &'a str,
    /// Its value.
    pub value: f64,
}

/// The best `k` classes of an image with these `logits` `[classes]`, best first.
#[must_use]
pub fn best<'a>(interpretation: Interpretation<'a>, logits: &[f32], k: usize) -> Vec<Score<'a>> {
    let values = interpretation.scale.values(logits);
    let score = |index: usize| Score {
        index,
        label: interpretation
            .labels
            .get(index)
            .map_or("", |label| &label.name),
        value: values[index],
    };
    let order = top_k(logits, 0..logits.len(), k);
    order.into_iter().map(score).collect()
}
