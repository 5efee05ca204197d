//! What TorchServe's image classifier answers: an object with the labels of five
//! classes and their probabilities, best first.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::core::answer::Interpretation;
use crate::core::batch::ImageOutput;
use crate::core::explain::ClassMap;
use crate::core::scores::{Score, best};

/// Classes of an answer.
pub const CLASSES: usize = 5;

/// The probabilities of one image by label.
struct Predictions<'a>(Vec<Score<'a>>);

impl Serialize for Predictions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names: Vec<String> = Vec::with_capacity(self.0.len());
        let mut object = serializer.serialize_map(None)?;
        for score in &self.0 {
            let name = spelled(score);
            // A key can occur once: of two classes with the same name, the more
            // probable one is returned.
            if !names.contains(&name) {
                object.serialize_entry(&name, &score.value)?;
                names.push(name);
            }
        }
        object.end()
    }
}

/// A label as in the mapping of TorchServe's examples, with underscores. A class
/// without a name is its index.
fn spelled(score: &Score<'_>) -> String {
    let index = score.index.to_string();
    let is_number = score.label.strip_prefix("class_") == Some(&index);
    match is_number || score.label.is_empty() {
        true => index,
        false => score.label.replace(' ', "_"),
    }
}

/// An explanation: the class activation map of one class as one channel,
/// `[1, height, width]`.
#[must_use]
pub fn explanation(map: &ClassMap) -> [Vec<Vec<f32>>; 1] {
    let rows = map.grid.values.chunks(map.grid.width.max(1));
    [rows.map(<[f32]>::to_vec).collect()]
}

/// A value as indented JSON and a newline.
///
/// # Errors
/// None in practice.
pub fn json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

/// What health checks get.
#[must_use]
pub fn health(is_ready: bool) -> Value {
    json!({"status": if is_ready { "Healthy" } else { "Unhealthy" }})
}

/// The answer for the images of a request: that of the only one, or a list in the
/// form of KServe.
///
/// # Errors
/// None in practice.
pub fn predictions(
    interpretation: Interpretation<'_>,
    images: &[ImageOutput],
    is_list: bool,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        predictions: Vec<Predictions<'a>>,
    }
    let image = |image: &ImageOutput| Predictions(best(interpretation, &image.logits, CLASSES));
    let predictions: Vec<_> = images.iter().map(image).collect();
    match &predictions[..] {
        [only] if !is_list => json(only),
        _ => json(&Envelope { predictions }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::explain::Grid;

    fn score(index: usize, label: &str, value: f64) -> Score<'_> {
        Score {
            index,
            label,
            value,
        }
    }

    #[test]
    fn labels_have_underscores_and_keep_their_order() {
        let scores = vec![
            score(282, "tiger cat", 0.5),
            score(281, "tabby", 0.25),
            score(7, "class_7", 0.125),
            score(8, "class_9", 0.0625),
            score(3, "tabby", 0.03125),
        ];
        let text = serde_json::to_string_pretty(&Predictions(scores)).unwrap();
        let expected = "{\n  \"tiger_cat\": 0.5,\n  \"tabby\": 0.25,\n  \"7\": 0.125,\n  \
                        \"class_9\": 0.0625\n}";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_explanation_has_one_channel_of_rows() {
        let map = ClassMap {
            class: 1,
            logit: 2.0,
            grid: Grid {
                width: 2,
                height: 2,
                values: vec![1.0, 2.0, 3.0, 4.0],
            },
        };
        let text = serde_json::to_string(&explanation(&map)).unwrap();
        assert_eq!(text, "[[[1.0,2.0],[3.0,4.0]]]");
    }
}
