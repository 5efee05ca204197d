//! What TensorFlow Serving answers: indented JSON with lists of numbers on one
//! line.

use crate::core::scores::Score;

/// How the values are arranged, as in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `instances` -> `predictions`.
    Rows,
    /// `inputs` -> `outputs`.
    Columns,
}

impl Layout {
    fn key(self) -> &'static str {
        match self {
            Self::Rows => "predictions",
            Self::Columns => "outputs",
        }
    }
}

/// The body for the values of all classes of each image.
pub(super) fn predictions(layout: Layout, images: &[Vec<f64>]) -> String {
    let mut text = format!("{{\n    \"{}\": [", layout.key());
    for (index, values) in images.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ", [" });
        for (class, value) in values.iter().enumerate() {
            if class > 0 {
                text.push_str(", ");
            }
            push_number(&mut text, *value);
        }
        text.push(']');
    }
    text.push_str("\n    ]\n}");
    text
}

/// The body for the classes of each image.
pub(super) fn classes(images: &[Vec<Score<'_>>]) -> String {
    let mut text = String::from("{\n    \"results\": [");
    for (index, scores) in images.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ", [" });
        for (class, score) in scores.iter().enumerate() {
            text.push_str(if class == 0 { "[" } else { ", [" });
            // A string always has a JSON form.
            text.push_str(&serde_json::to_string(score.label).unwrap_or_default());
            text.push_str(", ");
            push_number(&mut text, score.value);
            text.push(']');
        }
        text.push(']');
    }
    text.push_str("\n    ]\n}");
    text
}

/// An error body.
pub(super) fn error(message: &str) -> String {
    let message = serde_json::to_string(message).unwrap_or_default();
    format!("{{\n    \"error\": {message}\n}}")
}

/// A number in single precision, always with a fraction or an exponent.
fn push_number(text: &mut String, value: f64) {
    use std::fmt::Write;
    // Writing to a string does not fail.
    let _ = write!(text, "{:?}", value as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_differ_in_their_key() {
        let images = [vec![0.25, 1.0], vec![1e-9, 0.1]];
        assert_eq!(
            predictions(Layout::Rows, &images),
            "{\n    \"predictions\": [[0.25, 1.0], [1e-9, 0.1]\n    ]\n}"
        );
        assert_eq!(
            predictions(Layout::Columns, &images[..1]),
            "{\n    \"outputs\": [[0.25, 1.0]\n    ]\n}"
        );
    }

    #[test]
    fn classes_are_pairs_of_label_and_score() {
        let score = |label, value| Score {
            index: 0,
            label,
            value,
        };
        let images = [vec![score("a \"b\"", 0.5), score("c", 0.25)]];
        let text = classes(&images);
        assert_eq!(
            text,
            "{\n    \"results\": [[[\"a \\\"b\\\"\", 0.5], [\"c\", 0.25]]\n    ]\n}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(error("no"), "{\n    \"error\": \"no\"\n}");
    }
}
