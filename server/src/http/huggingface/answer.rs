//! What `huggingface_hub` reads of an answer: a list of labels and scores.

use serde::Serialize;

use crate::core::scores::Score;

/// One class.
#[derive(Serialize)]
pub(super) struct Element<'a> {
    label: &'a str,
    score: f64,
}

/// The body of an answer.
pub(super) fn elements<'a>(scores: &[Score<'a>]) -> Vec<Element<'a>> {
    let element = |score: &Score<'a>| Element {
        label: score.label,
        score: score.value,
    };
    scores.iter().map(element).collect()
}

/// The body of an error, which clients read from `error`.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) error: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_list() {
        let score = Score {
            index: 1,
            label: "tabby",
            value: 0.5,
        };
        let text = serde_json::to_string(&elements(&[score])).unwrap();
        assert_eq!(text, r#"[{"label":"tabby","score":0.5}]"#);
    }
}
