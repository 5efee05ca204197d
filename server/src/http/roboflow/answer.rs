//! Classification answers and model lists of Roboflow's API v1.

use serde::Serialize;

use crate::core::scores::Score;

/// The answer for one image.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) inference_id: &'a str,
    /// Seconds.
    pub(super) time: f64,
    pub(super) image: Size,
    pub(super) predictions: Vec<Prediction<'a>>,
    /// The best class, and its probability.
    pub(super) top: &'a str,
    pub(super) confidence: f64,
}

/// The size of an upright photo.
#[derive(Serialize)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// One class.
#[derive(Serialize)]
pub(super) struct Prediction<'a> {
    class: &'a str,
    class_id: usize,
    confidence: f64,
}

impl<'a> Prediction<'a> {
    /// The classes whose probability is at least `threshold`, best first.
    pub(super) fn list(scores: &[Score<'a>], threshold: f64) -> Vec<Self> {
        let prediction = |score: &Score<'a>| Self {
            class: score.label,
            class_id: score.index,
            confidence: rounded(score.value),
        };
        let certain = scores.iter().filter(|score| score.value >= threshold);
        certain.map(prediction).collect()
    }
}

/// A confidence with four decimals.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The models of the server.
#[derive(Serialize)]
pub(super) struct Registry {
    pub(super) models: Vec<Model>,
}

/// One model.
#[derive(Serialize)]
pub(super) struct Model {
    pub(super) model_id: String,
    pub(super) task_type: &'static str,
    pub(super) batch_size: Option<usize>,
    pub(super) input_height: usize,
    pub(super) input_width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_classes_above_the_threshold_and_the_best_one() {
        let score = |index, label, value| Score {
            index,
            label,
            value,
        };
        let scores = [score(281, "tabby", 0.512_34), score(282, "tiger cat", 0.25)];
        let answer = Answer {
            inference_id: "x",
            time: 0.5,
            image: Size {
                width: 4,
                height: 3,
            },
            predictions: Prediction::list(&scores, 0.4),
            top: scores[0].label,
            confidence: rounded(scores[0].value),
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"inference_id":"x","time":0.5,"image":{"width":4,"height":3},"predictions":[{"class":"tabby","class_id":281,"confidence":0.5123}],"top":"tabby","confidence":0.5123}"#
        );
    }
}
