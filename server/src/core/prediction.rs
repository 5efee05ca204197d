//! The most probable classes of an image, with their labels.

use serde::Serialize;
use weights::Labels;

use super::top_k::{Score, top_k};

/// One class and its probability.
#[derive(Debug, Serialize)]
pub struct Prediction<'a> {
    /// Position among the network's outputs.
    pub index: usize,
    /// `WordNet` id; null where the labels have none.
    pub wnid: Option<&'a str>,
    /// Its name.
    pub label: &'a str,
    /// 0 to 1, rounded to six decimals.
    pub probability: f64,
}

/// The `k` most probable classes of `logits` `[classes]`, with their labels.
#[must_use]
pub fn predictions<'a>(logits: &[f32], labels: &'a Labels, k: usize) -> Vec<Prediction<'a>> {
    let prediction = |Score { index, probability }| {
        let label = labels.get(index);
        Prediction {
            index,
            wnid: label.and_then(|label| label.wnid.as_deref()),
            label: label.map_or("", |label| &label.name),
            probability: (probability * 1e6).round() / 1e6,
        }
    };
    top_k(logits, k).into_iter().map(prediction).collect()
}
