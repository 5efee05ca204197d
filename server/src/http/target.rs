//! The model that a request's path names.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;

use super::problem::{Problem, ProblemType};
use crate::core::error::Error;

/// Parameters of `/models/{name}/versions/{version}/...`; empty for the
/// default model.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Target {
    pub(super) name: Option<String>,
    /// Text: what is no number is an unknown version, not a bad request.
    version: Option<String>,
}

impl Target {
    /// The version, if the path has one.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] for anything but a number.
    pub(super) fn version(&self) -> Result<Option<u64>, Error> {
        let Some(text) = &self.version else {
            return Ok(None);
        };
        let version = text.parse().map_err(|_| {
            let name = self.name.clone().unwrap_or_default();
            Error::UnknownVersion {
                available: format!("listed by GET /models/{name}"),
                name,
                version: text.clone(),
            }
        });
        version.map(Some)
    }

    /// The version as it is written in the path.
    pub(super) fn version_text(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Name of the model.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        type Parameters = Path<Target>;
        let found = <Parameters as OptionalFromRequestParts<S>>::from_request_parts(parts, state);
        let found = found.await.map_err(|rejection| invalid(&rejection))?;
        Ok(found.map(|Path(target)| target).unwrap_or_default())
    }
}

/// The only parameter of a path, decoded.
pub(super) struct PathText(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        type Parameter = Path<String>;
        let found = <Parameter as FromRequestParts<S>>::from_request_parts(parts, state).await;
        let Path(text) = found.map_err(|rejection| invalid(&rejection))?;
        Ok(Self(text))
    }
}

/// Each API renders a problem in its own form; the rejection would be plain text.
fn invalid(rejection: &PathRejection) -> Problem {
    let detail = format!("the path is invalid: {}", rejection.body_text());
    Problem::new(ProblemType::MalformedRequest, detail)
}
