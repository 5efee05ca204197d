//! DeepStack's answers to `/v1/vision/scene`: the best label of an image.

use serde::Serialize;

/// The body of an answer.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) success: bool,
    pub(super) label: &'a str,
    pub(super) confidence: f64,
}

/// The body of an error.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) success: bool,
    pub(super) error: &'a str,
}
