//! Predictions of Vertex AI, in the form that its own image classification
//! models have: parallel lists of ids, names and confidences.

use serde::Serialize;

use crate::core::scores::Score;

/// The body of an answer.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) predictions: Vec<Prediction<'a>>,
}

/// The classes of one image, best first.
#[derive(Serialize)]
pub(super) struct Prediction<'a> {
    ids: Vec<String>,
    #[serde(rename = "displayNames")]
    display_names: Vec<&'a str>,
    confidences: Vec<f64>,
}

impl<'a> Prediction<'a> {
    /// The classes whose probability is at least `threshold`.
    pub(super) fn new(scores: &[Score<'a>], threshold: f64) -> Self {
        let kept = || scores.iter().filter(|score| score.value >= threshold);
        Self {
            ids: kept().map(|score| score.index.to_string()).collect(),
            display_names: kept().map(|score| score.label).collect(),
            confidences: kept().map(|score| score.value).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_parallel_and_end_at_the_threshold() {
        let score = |index, label, value| Score {
            index,
            label,
            value,
        };
        let scores = [score(281, "tabby", 0.5), score(282, "tiger cat", 0.25)];
        let text = |threshold| {
            let predictions = vec![Prediction::new(&scores, threshold)];
            serde_json::to_string(&Answer { predictions }).unwrap()
        };
        assert_eq!(
            text(0.0),
            r#"{"predictions":[{"ids":["281","282"],"displayNames":["tabby","tiger cat"],"confidences":[0.5,0.25]}]}"#
        );
        assert_eq!(
            text(0.4),
            r#"{"predictions":[{"ids":["281"],"displayNames":["tabby"],"confidences":[0.5]}]}"#
        );
    }
}
