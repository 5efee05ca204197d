//! The function that turns the outputs of a network into its answer.

use serde::{Deserialize, Serialize};

/// What is applied to the outputs of the last layer. It depends on the loss that
/// the network was trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Exactly one class applies: the probabilities of all classes sum to 1.
    #[default]
    Softmax,
    /// Each class applies or not, independently of the others: a probability
    /// for each class.
    Sigmoid,
    /// Regression: the outputs are the answer and no probabilities.
    None,
}

impl Activation {
    /// The name in metadata files and responses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
            Self::None => "none",
        }
    }

    /// This activation for a network with `classes` outputs. The softmax of a
    /// single output is always 1, so a network with one output that was not
    /// trained for regression is a yes-or-no question.
    #[must_use]
    pub fn for_classes(self, classes: usize) -> Self {
        match self {
            Self::Softmax if classes == 1 => Self::Sigmoid,
            activation => activation,
        }
    }
}
