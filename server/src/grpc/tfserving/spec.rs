//! A `ModelSpec`: the model, the version and the signature of a request.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::core::instance::Instance;
use crate::grpc::proto::tensorflow::serving::ModelSpec;
use crate::grpc::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::grpc::unary::Inference;
use crate::http::inference::{Named, in_words};
use crate::http::problem::{Problem, ProblemType};
use crate::http::tfserving::named;
use crate::tfserving::failure::words;
use crate::tfserving::signature::{SIGNATURES, is_signature};
use crate::tfserving::version::Version;

/// What a request names.
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) version: Version,
    signature: String,
}

impl Spec {
    /// # Errors
    /// There is none, or it names no model.
    pub(super) fn new(spec: Option<ModelSpec>) -> Result<Self, Problem> {
        let missing = |text| Problem::new(ProblemType::MalformedRequest, text);
        let spec = spec.ok_or_else(|| missing("Missing ModelSpec"))?;
        if spec.name.is_empty() {
            return Err(missing("ModelSpec has no name specified."));
        }
        Ok(Self {
            name: spec.name,
            version: match spec.version_choice {
                None => Version::Any,
                Some(VersionChoice::Version(number)) => Version::Number(number.to_string()),
                Some(VersionChoice::VersionLabel(label)) => Version::Label(label),
            },
            signature: spec.signature_name,
        })
    }

    /// The instance that runs the images, and has the signature.
    ///
    /// # Errors
    /// An unknown model, version or signature.
    pub(super) async fn instance(
        &self,
        inference: &mut Inference<'_>,
    ) -> Result<Arc<Instance>, Problem> {
        let Inference {
            call,
            entered,
            fields,
            ..
        } = inference;
        let Named { name, version } = named(&call.serving, &self.name, &self.version)?;
        let found = call.model(name.as_deref(), version, entered, fields).await;
        let instance = found.map_err(|error| in_words(call.problem(&error), &error, words))?;
        match is_signature(&self.signature) {
            true => Ok(instance),
            false => Err(Problem::new(
                ProblemType::MalformedRequest,
                format!(
                    "Serving signature key \"{}\" not found; use one of {}",
                    self.signature.escape_default(),
                    SIGNATURES.join(", ")
                ),
            )
            .with_status(StatusCode::PRECONDITION_FAILED)),
        }
    }

    /// What the response says of the model.
    pub(super) fn served(&self, instance: &Instance) -> ModelSpec {
        let signature = match self.signature.is_empty() {
            true => SIGNATURES[0],
            false => &self.signature,
        };
        ModelSpec {
            signature_name: signature.to_owned(),
            ..described(&self.name, instance)
        }
    }
}

/// A model and the version of an instance.
pub(super) fn described(name: &str, instance: &Instance) -> ModelSpec {
    let version = i64::try_from(instance.version()).unwrap_or(i64::MAX);
    ModelSpec {
        name: name.to_owned(),
        version_choice: Some(VersionChoice::Version(version)),
        signature_name: String::new(),
    }
}
