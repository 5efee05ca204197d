//! Why a command other than `serve` and `healthcheck` failed.

use std::io;
use std::path::PathBuf;

use weights::Activation;

use crate::commands::{calibration, dataset, images, pipeline};
use crate::config::errors::ConfigErrors;
use crate::core::error::Error as LabelError;

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags or environment variables are invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The checkpoint cannot be read, or the new file cannot be written.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The model matches no architecture, or cannot run.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// There are no images.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The images cannot be classified.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// A label that is not one of the model's.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The images have no best temperature.
    #[error(transparent)]
    Fit(#[from] calibration::FitError),
    /// The outputs of the model are no probabilities of one class.
    #[error(
        "the activation of the model is {}, and a temperature is fitted for softmax only",
        activation.name()
    )]
    NotSoftmax {
        /// As the checkpoint says.
        activation: Activation,
    },
    /// The hierarchy has none of the classes.
    #[error("{0}")]
    Hierarchy(String),
    /// No image can be read.
    #[error("none of the {count} images can be read; the last one, {}: {reason}", path.display())]
    AllUnreadable {
        /// How many there are.
        count: usize,
        /// The last one.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}
