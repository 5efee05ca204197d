//! The shape of a convolution and its activation.

/// A convolution's hyperparameters. Stride and padding are the same in both
/// dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvSpec {
    /// Input channels.
    pub(crate) cin: usize,
    /// Output channels.
    pub(crate) cout: usize,
    /// Kernel height and width.
    pub(crate) kernel: (usize, usize),
    /// Stride, in pixels.
    pub(crate) stride: usize,
    /// Zero padding on each side, in pixels.
    pub(crate) padding: usize,
    /// Number of groups, as in PyTorch.
    pub(crate) groups: usize,
}

impl ConvSpec {
    /// A fully connected layer: a 1x1 convolution of 1x1 feature maps.
    #[must_use]
    pub(crate) fn linear(cin: usize, cout: usize) -> Self {
        Self {
            cin,
            cout,
            kernel: (1, 1),
            stride: 1,
            padding: 0,
            groups: 1,
        }
    }
}

/// The activation function applied to every output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Identity.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// The activation of one value.
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
        }
    }

    /// The lower bound that the activation imposes on its outputs.
    pub(crate) fn floor(self) -> f32 {
        match self {
            Self::None => f32::NEG_INFINITY,
            Self::Relu => 0.0,
        }
    }
}
