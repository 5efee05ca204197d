//! The JSON of a response. The order of its keys and the format of its numbers
//! are part of the contract.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use weights::Activation;

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
    /// What made the probabilities of the logits.
    pub activation: Activation,
    /// The best classes, best first.
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
    fn keys_keep_their_order_and_values_have_six_decimals() {
        let labels = Labels::from_names(["cat", "dog"].map(str::to_owned));
        let classification = |activation| Classification {
            model: "tiny",
            version: 3,
            request_id: "r1",
            activation,
            predictions: predictions(&[0.0, 3_f32.ln()], &labels, activation, 2),
            top_k: Some(Clamped {
                requested: 9,
                returned: 2,
            }),
        };
        let json = |activation| serde_json::to_string(&classification(activation)).unwrap();
        assert_eq!(
            json(Activation::Softmax),
            r#"{"model":"tiny","version":3,"request_id":"r1","activation":"softmax","predictions":[{"index":1,"wnid":null,"label":"dog","probability":0.75},{"index":0,"wnid":null,"label":"cat","probability":0.25}],"top_k":{"requested":9,"returned":2}}"#
        );
        let sigmoid = json(Activation::Sigmoid);
        let cat = r#""activation":"sigmoid","predictions":[{"index":1,"wnid":null,"label":"dog","probability":0.75},{"index":0,"wnid":null,"label":"cat","probability":0.5}]"#;
        assert!(sigmoid.contains(cat), "{sigmoid}");
        let none = json(Activation::None);
        let dog = r#""activation":"none","predictions":[{"index":1,"wnid":null,"label":"dog","value":1.098612}"#;
        assert!(none.contains(dog), "{none}");
    }
}
