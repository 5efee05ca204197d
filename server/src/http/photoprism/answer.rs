//! What PhotoPrism reads of an answer: one list of labels for all crops of a
//! photo.

use serde::Serialize;

use crate::core::scores::Score;

/// Labels of an answer.
pub(super) const MOST_LABELS: usize = 5;

/// The lowest probability of a label, unless there is none above it: an answer
/// without labels is an error for PhotoPrism.
pub(super) const THRESHOLD: f64 = 0.1;

/// The body of an answer, or of an error.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) id: &'a str,
    pub(super) code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<Model<'a>>,
    pub(super) result: Labels<'a>,
}

/// The model that answered.
#[derive(Serialize)]
pub(super) struct Model<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) version: String,
    pub(super) resolution: usize,
}

/// The labels of a photo, best first.
#[derive(Default, Serialize)]
pub(super) struct Labels<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label<'a>>,
}

#[derive(Serialize)]
struct Label<'a> {
    name: &'a str,
    source: &'static str,
    confidence: f64,
    topicality: f64,
}

impl<'a> Labels<'a> {
    /// Merges the classes of the crops: each label once, with its largest
    /// probability.
    pub(super) fn merge(crops: &[Vec<Score<'a>>]) -> Self {
        let mut merged: Vec<Score<'a>> = Vec::new();
        for score in crops.iter().flatten() {
            match merged.iter_mut().find(|known| known.index == score.index) {
                Some(known) => known.value = known.value.max(score.value),
                None => merged.push(*score),
            }
        }
        merged.sort_by(|a, b| b.value.total_cmp(&a.value));
        let certain = merged.iter().filter(|s| s.value >= THRESHOLD).count();
        merged.truncate(certain.clamp(1, MOST_LABELS));
        let label = |score: Score<'a>| Label {
            name: score.label,
            source: "image",
            confidence: score.value,
            topicality: score.value,
        };
        Self {
            labels: merged.into_iter().map(label).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(index: usize, label: &str, value: f64) -> Score<'_> {
        Score {
            index,
            label,
            value,
        }
    }

    #[test]
    fn crops_are_merged_into_one_list() {
        let crops = [
            vec![score(1, "cat", 0.5), score(2, "dog", 0.25)],
            vec![score(2, "dog", 0.75), score(3, "boat", 0.01)],
        ];
        let model = Model {
            kind: "labels",
            name: "resnet50",
            version: "1".into(),
            resolution: 224,
        };
        let answer = Answer {
            id: "a1",
            code: 200,
            error: None,
            model: Some(model),
            result: Labels::merge(&crops),
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"id":"a1","code":200,"model":{"type":"labels","name":"resnet50","version":"1","resolution":224},"result":{"labels":[{"name":"dog","source":"image","confidence":0.75,"topicality":0.75},{"name":"cat","source":"image","confidence":0.5,"topicality":0.5}]}}"#
        );
    }

    #[test]
    fn the_best_label_stays_however_uncertain_it_is() {
        let labels = Labels::merge(&[vec![score(1, "cat", 0.02), score(2, "dog", 0.01)]]);
        assert_eq!(labels.labels.len(), 1);
        assert_eq!(labels.labels[0].name, "cat");
        let error = Answer {
            id: "",
            code: 400,
            error: Some("no"),
            model: None,
            result: Labels::default(),
        };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"code":400,"error":"no","result":{}}"#);
    }
}
