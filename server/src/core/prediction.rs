//! The best classes of an image, with their labels.

use serde::Serialize;
use weights::{Activation, Labels};

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
    /// 0 to 1, rounded to six decimals. A regression has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The output of a regression, rounded to six decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// The `k` classes with the largest `logits` `[classes]`, with their labels.
#[must_use]
pub fn predictions<'a>(
    logits: &[f32],
    labels: &'a Labels,
    activation: Activation,
    k: usize,
) -> Vec<Prediction<'a>> {
    let prediction = |Score { index, value }| {
        let label = labels.get(index);
        let rounded = (value * 1e6).round() / 1e6;
        let regression = activation == Activation::None;
        Prediction {
            index,
            wnid: label.and_then(|label| label.wnid.as_deref()),
            label: label.map_or("", |label| &label.name),
            probability: (!regression).then_some(rounded),
            value: regression.then_some(rounded),
        }
    };
    let scores = top_k(logits, activation, k);
    scores.into_iter().map(prediction).collect()
}
