//! What the registry is asked to serve: one specification for each model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use model::Options;

use super::tensor::FloatRange;

/// One model to serve, with all its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The name in routes, metrics and logs: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Other names for the same model.
    pub aliases: Vec<String>,
    /// Where its checkpoints are.
    pub source: ModelSource,
    /// Which versions are served.
    pub versions: VersionPolicy,
    /// Part of the requests that each version receives, by weight; empty sends
    /// all of them to the newest version that is ready.
    pub traffic: BTreeMap<u64, u32>,
    /// A file of class names that replaces those of the checkpoint.
    pub labels: Option<PathBuf>,
    /// Device, data type, instruction set and engine.
    pub options: Options,
    /// The largest batch, where it differs from the server's.
    pub max_batch: Option<usize>,
    /// When the model is loaded.
    pub load: LoadPolicy,
    /// What the floats mean that clients send as an image.
    pub floats: FloatRange,
}

impl ModelSpec {
    /// Whether a version loaded for `other` is the same as one loaded for this
    /// specification.
    #[must_use]
    pub fn loads_like(&self, other: &Self) -> bool {
        let of = |spec: &Self| (spec.max_batch, spec.floats);
        (&self.source, &self.labels, &self.options, of(self))
            == (&other.source, &other.labels, &other.options, of(other))
    }
}

/// Where the checkpoints of a model are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// One checkpoint, served as version 1: the built-in model's name, a file,
    /// a folder, or a repository of the Hugging Face Hub.
    Checkpoint(String),
    /// A folder of a model repository. Its subfolders with integer names are
    /// the versions; without any, the folder itself is version 1.
    Versioned(PathBuf),
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(source) => f.write_str(source),
            Self::Versioned(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// Which versions of a model are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The one with the largest number.
    #[default]
    Latest,
    /// All of them.
    All,
    /// Those listed.
    Only(Vec<u64>),
}

/// When a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadPolicy {
    /// Before the server is ready.
    #[default]
    AtStart,
    /// When the first request for it arrives. Such a model may be evicted
    /// again when memory for models runs out.
    OnDemand,
}
