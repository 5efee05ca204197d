//! Where the metadata of a checkpoint is from, so that people can see what was
//! decided and why.

use std::fmt;

use crate::metadata::Metadata;

/// The file that a field of the metadata is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The metadata in the file of the weights.
    File,
    /// `config.json`.
    Config,
    /// `preprocessor_config.json`.
    Preprocessor,
}

/// Where the fields of the metadata are from; `None` for fields that the
/// checkpoint does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Of the architecture.
    pub architecture: Option<Origin>,
    /// Of the preprocessing.
    pub preprocessing: Option<Origin>,
    /// Of the labels.
    pub labels: Option<Origin>,
    /// Of the activation.
    pub activation: Option<Origin>,
}

/// The metadata in the configuration files of a folder.
#[derive(Default)]
pub(crate) struct Configuration {
    pub(crate) metadata: Metadata,
    pub(crate) origins: Origins,
}

impl Origins {
    /// All fields that `metadata` has are from `origin`.
    pub(crate) fn of(metadata: &Metadata, origin: Origin) -> Self {
        let of = |has: bool| has.then_some(origin);
        Self {
            architecture: of(metadata.architecture.is_some()),
            preprocessing: of(metadata.preprocessing.is_some()),
            labels: of(metadata.labels.is_some()),
            activation: of(metadata.activation.is_some()),
        }
    }

    /// These; fields that are `None` are taken from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            architecture: self.architecture.or(other.architecture),
            preprocessing: self.preprocessing.or(other.preprocessing),
            labels: self.labels.or(other.labels),
            activation: self.activation.or(other.activation),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the metadata of the weights",
            Self::Config => "config.json",
            Self::Preprocessor => "preprocessor_config.json",
        })
    }
}
