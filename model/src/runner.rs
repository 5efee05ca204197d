//! A loaded network: pixels in, logits out, whatever device it runs on.

use weights::{Checkpoint, Labels, Recipe};

use crate::cores::Cores;
use crate::error::{Error, Result};
use crate::options::Options;

/// What a loaded network tells of itself.
#[derive(Clone, Debug)]
pub struct Card {
    /// The checkpoint's name.
    pub name: String,
    /// The row of the family's table.
    pub architecture: String,
    /// Number of trained values.
    pub parameters: u64,
    /// Multiply-adds of one image's forward pass.
    pub multiply_adds: u64,
    /// Side of the square RGB input, in pixels.
    pub input_size: usize,
    /// Number of outputs.
    pub classes: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `f32`, ...
    pub dtype: String,
    /// Instruction set of the kernels (`avx2`, ...), or the card's name.
    pub isa: String,
    /// SHA-256 of the weights.
    pub digest: String,
}

/// A network ready to run. Shared freely: `forward` takes `&self`.
pub struct Model {
    card: Card,
    recipe: Recipe,
    labels: Labels,
}

impl Model {
    /// Builds the network that `checkpoint` holds.
    ///
    /// # Errors
    /// A checkpoint that fits no row of the family, or a device, type or
    /// instruction set that this machine lacks.
    pub fn load(checkpoint: &Checkpoint, options: &Options, cores: &Cores) -> Result<Self> {
        let _ = (options, cores);
        Err(Error::Architecture(checkpoint.name().to_owned()))
    }

    /// What it is.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// How to prepare a photo for it.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Its classes, in the order of the logits.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Logits `[N, classes]`, row-major, of `N` images given as RGB pixels
    /// `[S, S, 3]` each, `S` the card's input size. Normalisation happens here.
    ///
    /// # Errors
    /// A wrong number of bytes; a failure of the device.
    pub fn forward(&self, images: &[&[u8]]) -> Result<Vec<f32>> {
        Err(Error::Batch(format!("{} images", images.len())))
    }

    /// Logits `[N, classes]` of normalised planes `[N, 3, S, S]`.
    ///
    /// # Errors
    /// A wrong number of values; a failure of the device.
    pub fn forward_planes(&self, input: &[f32]) -> Result<Vec<f32>> {
        Err(Error::Batch(format!("{} values", input.len())))
    }
}
