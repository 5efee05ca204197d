//! The JSON of an answer. The order of its keys and the format of its numbers
//! are part of the contract.

use serde::Serialize;
use weights::Labels;

use crate::problem::ProblemBody;
use crate::top_k::{Score, top_k};

/// One class and how likely it is.
#[derive(Debug, Serialize)]
pub struct Prediction<'a> {
    /// Position among the network's outputs.
    pub index: usize,
    /// `WordNet` id; null where the labels have none.
    pub wnid: Option<&'a str>,
    /// Human name.
    pub label: &'a str,
    /// 0 to 1, rounded to six decimals.
    pub probability: f64,
}

/// What one image is answered with.
#[derive(Serialize)]
pub struct Answer<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The most probable classes, best first.
    pub predictions: Vec<Prediction<'a>>,
    /// Present only where `top_k` asked for more classes than there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Clamped>,
}

/// What became of a `top_k` beyond the number of classes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clamped {
    /// As asked for.
    pub requested: usize,
    /// The number of classes.
    pub returned: usize,
}

/// One item of the array that many images are answered with.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Item<'a> {
    /// It went well.
    Answer(Answer<'a>),
    /// This image did not; its neighbours are unharmed.
    Problem(ProblemBody<'a>),
}

/// The `k` best predictions of `logits` `[classes]`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_numbers_their_format() {
        let labels = Labels::from_names(["cat", "dog"].map(str::to_owned));
        let answer = Answer {
            model: "tiny",
            request_id: "r1",
            predictions: predictions(&[0.0, 3_f32.ln()], &labels, 2),
            top_k: Some(Clamped {
                requested: 9,
                returned: 2,
            }),
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"model":"tiny","request_id":"r1","predictions":[{"index":1,"wnid":null,"label":"dog","probability":0.75},{"index":0,"wnid":null,"label":"cat","probability":0.25}],"top_k":{"requested":9,"returned":2}}"#
        );
    }
}
