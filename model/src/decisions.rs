//! What was decided about a network when it was loaded, and from what.

use weights::{Checkpoint, Origin};

use crate::detect::Detected;

/// Why a network is what it is, as text for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Why it has this architecture.
    pub architecture: String,
    /// Where the preprocessing is from.
    pub preprocessing: String,
    /// Where the labels are from.
    pub labels: String,
    /// Where the activation is from.
    pub activation: String,
    /// Which of several sets of weights was taken, which tensors are not used.
    pub notes: Vec<String>,
}

impl Decisions {
    /// The decisions about `checkpoint`.
    pub(crate) fn about(checkpoint: &Checkpoint, detected: &Detected) -> Self {
        let origins = checkpoint.origins();
        let from = |origin: Option<Origin>, otherwise: &str| {
            origin.map_or_else(|| otherwise.to_owned(), |origin| origin.to_string())
        };
        let labels = match detected.classes {
            1000 => "assumed: the checkpoint has none and 1000 classes, as ImageNet",
            _ => "none: the checkpoint has no names of its classes",
        };
        let activation = match detected.classes {
            1 => "assumed: the checkpoint does not say, and it has one output",
            _ => "assumed: the checkpoint does not say",
        };
        Self {
            architecture: detected.why.clone(),
            preprocessing: from(
                origins.preprocessing,
                "assumed: the checkpoint has none, so the usual one for this architecture",
            ),
            labels: from(origins.labels, labels),
            activation: from(origins.activation, activation),
            notes: checkpoint.notes().to_vec(),
        }
    }
}
