//! `GET /models` and below: which models there are, in which state, and what
//! is known about the loaded ones.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use weights::{Activation, Preprocessing};

use super::problem::Problem;
use super::response::json;
use super::target::Target;
use crate::core::network::Network;
use crate::core::registry::status::{ModelStatus, VersionStatus};
use crate::core::serving::Serving;

#[derive(Serialize)]
struct ListBody<'a> {
    models: Vec<ModelBody<'a>>,
}

#[derive(Serialize)]
struct ModelBody<'a> {
    name: &'a str,
    aliases: &'a [String],
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    versions: Vec<VersionBody<'a>>,
}

#[derive(Serialize)]
struct VersionBody<'a> {
    version: u64,
    state: &'static str,
    /// Why the last load failed, or why the version is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    info: Option<InfoBody<'a>>,
}

/// What is known about a loaded model.
#[derive(Serialize)]
struct InfoBody<'a> {
    architecture: &'a str,
    parameters: u64,
    multiply_adds: u64,
    input: InputBody<'a>,
    device: String,
    dtype: &'a str,
    isa: &'a str,
    engine: String,
    digest: &'a str,
    memory_bytes: usize,
    activation: Activation,
    decisions: DecisionsBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    classes: usize,
    labels: Vec<ClassBody<'a>>,
}

/// What was decided when the model was loaded, and from what.
#[derive(Serialize)]
struct DecisionsBody<'a> {
    architecture: &'a str,
    preprocessing: &'a str,
    activation: &'a str,
    labels: &'a str,
    notes: &'a [String],
}

#[derive(Serialize)]
struct InputBody<'a> {
    width: usize,
    height: usize,
    channels: &'static str,
    preprocessing: &'a Preprocessing,
}

#[derive(Serialize)]
struct ClassBody<'a> {
    index: usize,
    wnid: Option<&'a str>,
    label: &'a str,
}

/// All models, without what is known about each.
pub(super) async fn list(State(serving): State<Arc<Serving>>) -> Result<Response, Problem> {
    let statuses = serving.registry().list();
    json(&ListBody {
        models: statuses.iter().map(|status| model(status, false)).collect(),
    })
}

/// One model and its versions.
pub(super) async fn describe(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<Response, Problem> {
    let name = target.name().unwrap_or_default();
    let status = serving.registry().status(name)?;
    let Some(number) = target.version()? else {
        return json(&model(&status, true));
    };
    json(&version(status.version(number)?, true))
}

/// Whether requests for this model can be served now.
pub(super) async fn ready(
    State(serving): State<Arc<Serving>>,
    target: Target,
) -> Result<&'static str, Problem> {
    let name = target.name().unwrap_or_default();
    serving.registry().model_ready(name, target.version()?)?;
    Ok("ready\n")
}

fn model(status: &ModelStatus, with_info: bool) -> ModelBody<'_> {
    let versions = status.versions.iter();
    ModelBody {
        name: &status.name,
        aliases: &status.aliases,
        default: status.is_default,
        reason: status.error.as_deref(),
        versions: versions.map(|v| version(v, with_info)).collect(),
    }
}

fn version(status: &VersionStatus, with_info: bool) -> VersionBody<'_> {
    let instance = status.instance.as_ref().filter(|_| with_info);
    VersionBody {
        version: status.version,
        state: status.state.name(),
        reason: status.reason.as_deref(),
        info: instance.map(|instance| info(instance.network(), instance.memory())),
    }
}

fn info(network: &dyn Network, memory: usize) -> InfoBody<'_> {
    let info = network.info();
    let labels = network.labels().iter().enumerate();
    InfoBody {
        architecture: &info.architecture,
        parameters: info.parameters,
        multiply_adds: info.multiply_adds,
        input: InputBody {
            width: info.input_size,
            height: info.input_size,
            channels: "RGB",
            preprocessing: network.preprocessing(),
        },
        device: info.device.to_string(),
        dtype: info.dtype.name(),
        isa: &info.isa,
        engine: info.engine.to_string(),
        digest: &info.digest,
        memory_bytes: memory,
        activation: network.activation(),
        decisions: DecisionsBody {
            architecture: &info.decisions.architecture,
            preprocessing: &info.decisions.preprocessing,
            activation: &info.decisions.activation,
            labels: &info.decisions.labels,
            notes: &info.decisions.notes,
        },
        temperature: network.temperature(),
        classes: info.classes,
        labels: labels
            .map(|(index, label)| ClassBody {
                index,
                wnid: label.wnid.as_deref(),
                label: &label.name,
            })
            .collect(),
    }
}
