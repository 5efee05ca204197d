//! What TorchServe's image classifier answers: an object with the labels of five
//! classes and their probabilities, best first.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::core::explain::ClassMap;
use crate::http::problem::Problem;
use crate::http::scores::Score;

/// Classes of an answer.
pub(in crate::http) const CLASSES: usize = 5;

/// The probabilities of one image by label.
pub(super) struct Predictions<'a>(pub(super) Vec<Score<'a>>);

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
pub(super) fn explanation(map: &ClassMap) -> [Vec<Vec<f32>>; 1] {
    let rows = map.grid.values.chunks(map.grid.width.max(1));
    [rows.map(<[f32]>::to_vec).collect()]
}

/// A response with `body` as indented JSON and a newline.
pub(in crate::http) fn printed(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    let mut json = serde_json::to_vec_pretty(body).map_err(|_| Problem::internal())?;
    json.push(b'\n');
    let content_type = [(CONTENT_TYPE, "application/json")];
    let mut response = (status, content_type, json).into_response();
    response.headers_mut().extend(cache_headers());
    Ok(response)
}

/// The headers of all responses, which keep browsers from storing them.
pub(super) fn cache_headers() -> Vec<(HeaderName, HeaderValue)> {
    let header = |name, value| (name, HeaderValue::from_static(value));
    vec![
        header(PRAGMA, "no-cache"),
        header(
            CACHE_CONTROL,
            "no-cache; no-store, must-revalidate, private",
        ),
        header(EXPIRES, "Thu, 01 Jan 1970 00:00:00 UTC"),
    ]
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
