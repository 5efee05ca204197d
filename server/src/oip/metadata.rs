//! What is said about the server and its models.

use serde::Serialize;

use super::outputs::Output;
use super::tensor::Datatype;
use crate::core::instance::Instance;
use crate::core::registry::status::ModelStatus;

/// The name of the only input. Requests may use any.
pub const INPUT: &str = "image";

/// Triton's name for the kind of a model.
pub const PLATFORM: &str = "resnet";

/// Triton's names of the extensions that are there.
pub const EXTENSIONS: [&str; 7] = [
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// The server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerMetadata {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// [`EXTENSIONS`].
    pub extensions: [&'static str; 7],
}

impl Default for ServerMetadata {
    fn default() -> Self {
        Self {
            name: "resnet",
            version: env!("CARGO_PKG_VERSION"),
            extensions: EXTENSIONS,
        }
    }
}

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelMetadata {
    /// Its name, as in the request.
    pub name: String,
    /// The versions that are served.
    pub versions: Vec<String>,
    /// [`PLATFORM`].
    pub platform: &'static str,
    /// One: UINT8 pixels, which the server normalises.
    pub inputs: Vec<TensorMetadata>,
    /// One: the logits.
    pub outputs: Vec<TensorMetadata>,
}

/// A tensor of a model.
#[derive(Clone, Debug, Serialize)]
pub struct TensorMetadata {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub datatype: Datatype,
    /// Its dimensions, of which the first is that of the batch.
    pub shape: Vec<i64>,
}

impl ModelMetadata {
    /// The metadata of a loaded model. `status` has its versions.
    #[must_use]
    pub fn new(name: &str, instance: &Instance, status: &ModelStatus) -> Self {
        let side = instance.network().info().input_size as i64;
        let classes = instance.network().labels().len() as i64;
        let served = status.versions.iter();
        let served = served.filter(|version| version.instance.is_some());
        Self {
            name: name.to_owned(),
            versions: served.map(|version| version.version.to_string()).collect(),
            platform: PLATFORM,
            inputs: vec![TensorMetadata {
                name: INPUT,
                datatype: Datatype::Uint8,
                shape: vec![-1, side, side, 3],
            }],
            outputs: vec![TensorMetadata {
                name: Output::Logits.name(),
                datatype: Datatype::Fp32,
                shape: vec![-1, classes],
            }],
        }
    }
}

/// A version of a model, in the index of the repository.
#[derive(Clone, Debug, Serialize)]
pub struct IndexEntry {
    /// The model.
    pub name: String,
    /// The version.
    pub version: String,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready.
    pub reason: String,
}

/// The index of the repository; with `ready`, only what is ready.
#[must_use]
pub fn index(models: &[ModelStatus], ready: bool) -> Vec<IndexEntry> {
    let versions = models
        .iter()
        .flat_map(|model| model.versions.iter().map(move |version| (model, version)));
    let entries = versions.map(|(model, version)| {
        let (state, reason) = match &version.instance {
            Some(_) => ("READY", ""),
            None if version.state.name() == "loading" => ("LOADING", ""),
            None => (
                "UNAVAILABLE",
                version.reason.as_deref().unwrap_or("unloaded"),
            ),
        };
        IndexEntry {
            name: model.name.clone(),
            version: version.version.to_string(),
            state,
            reason: reason.to_owned(),
        }
    });
    entries
        .filter(|entry| !ready || entry.state == "READY")
        .collect()
}
