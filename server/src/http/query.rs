//! The query parameters of a request: those of a classification, and any others.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::core::answer::{AnswerOptions, TOP_K, probability};

/// Names and values in the order of the query.
pub(super) type Pairs = Vec<(String, String)>;

/// The query of a request. Its rejection is a problem, which each API renders in
/// its own form, instead of plain text.
pub(super) struct CheckedQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for CheckedQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        let Query(found) =
            query.map_err(|rejection| Problem::bad_parameter(rejection.body_text()))?;
        Ok(Self(found))
    }
}

/// All parameters.
const NAMES: &str = "top_k, threshold, labels and min_confidence";

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    /// Numbers.
    pub(super) options: AnswerOptions,
    /// The values of `labels`, which may occur several times.
    pub(super) labels: Vec<String>,
}

impl Parameters {
    /// Reads the query. Without a parameter `min_confidence`, the one given
    /// here is used.
    ///
    /// # Errors
    /// An unknown parameter, one that occurs twice, or an invalid value.
    pub(super) fn read(
        query: Result<Query<Pairs>, QueryRejection>,
        min_confidence: f64,
    ) -> Result<Self, Problem> {
        let Query(pairs) =
            query.map_err(|rejection| Problem::bad_parameter(rejection.body_text()))?;
        let mut parameters = Self {
            options: AnswerOptions {
                top_k: TOP_K,
                threshold: 0.0,
                min_confidence,
            },
            labels: Vec::new(),
        };
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &pairs {
            let name = name.as_str();
            if name != "labels" && seen.contains(&name) {
                return Err(Problem::bad_parameter(format!(
                    "{name} occurs twice; send it once"
                )));
            }
            seen.push(name);
            parameters.set(name, value)?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "top_k" => self.options.top_k = count(name, value)?,
            "threshold" => self.options.threshold = fraction(name, value)?,
            "min_confidence" => self.options.min_confidence = fraction(name, value)?,
            "labels" if value.trim().is_empty() => {
                return Err(Problem::bad_parameter(
                    "labels is empty; it must name classes or categories, separated by commas",
                ));
            }
            "labels" => self.labels.push(value.to_owned()),
            _ => {
                let name = name.escape_default();
                return Err(Problem::bad_parameter(format!(
                    "there is no parameter `{name}`; the parameters are {NAMES}"
                )));
            }
        }
        Ok(())
    }
}

/// A number of classes. One that is too large for the type is larger than any
/// number of classes.
fn count(name: &str, value: &str) -> Result<usize, Problem> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::bad_parameter(format!(
            "{name} is `{}`; it must be the number of classes to return, an integer from 0",
            value.escape_default()
        )));
    }
    Ok(value.parse().unwrap_or(usize::MAX))
}

fn fraction(name: &str, value: &str) -> Result<f64, Problem> {
    probability(value).ok_or_else(|| {
        Problem::bad_parameter(format!(
            "{name} is `{}`; it must be a number from 0 to 1",
            value.escape_default()
        ))
    })
}
