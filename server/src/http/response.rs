//! The JSON of a response. The order of its keys and the format of its numbers
//! are part of the contract.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, ProblemBody};
use crate::core::prediction::Prediction;

/// The result of one image.
#[derive(Serialize)]
pub struct Classification<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Version of the model.
    pub version: u64,
    /// The request's id.
    pub request_id: &'a str,
    /// The most probable classes, best first.
    pub predictions: Vec<Prediction<'a>>,
    /// Present only where `top_k` asked for more classes than there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Clamped>,
}

/// A `top_k` larger than the number of classes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clamped {
    /// As requested.
    pub requested: usize,
    /// The number of classes.
    pub returned: usize,
}

/// One item of the array that a request with several images returns.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Item<'a> {
    /// The result of an image.
    Classification(Classification<'a>),
    /// Why an image has no result; the other images are unaffected.
    Problem(ProblemBody<'a>),
}

/// A response with `body` as JSON.
pub(super) fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(test)]
mod tests {
    use weights::Labels;

    use super::*;
    use crate::core::prediction::predictions;

    #[test]
    fn keys_keep_their_order_and_probabilities_have_six_decimals() {
        let labels = Labels::from_names(["cat", "dog"].map(str::to_owned));
        let classification = Classification {
            model: "tiny",
            version: 3,
            request_id: "r1",
            predictions: predictions(&[0.0, 3_f32.ln()], &labels, 2),
            top_k: Some(Clamped {
                requested: 9,
                returned: 2,
            }),
        };
        assert_eq!(
            serde_json::to_string(&classification).unwrap(),
            r#"{"model":"tiny","version":3,"request_id":"r1","predictions":[{"index":1,"wnid":null,"label":"dog","probability":0.75},{"index":0,"wnid":null,"label":"cat","probability":0.25}],"top_k":{"requested":9,"returned":2}}"#
        );
    }
}
