//! What the service needs of a network: `model::Model` is one, and a test can
//! put a slow or failing one in its place.

use model::{Card, Model};
use weights::{Labels, Recipe};

/// Pixels in, logits out.
pub trait Network: Send + Sync + 'static {
    /// What it is.
    fn card(&self) -> &Card;

    /// How to prepare a photo for it.
    fn recipe(&self) -> &Recipe;

    /// Its classes, in the order of the logits.
    fn labels(&self) -> &Labels;

    /// Logits `[N, classes]`, row-major, of `N` images of RGB pixels
    /// `[S, S, 3]` each, `S` the card's input size.
    ///
    /// # Errors
    /// A failure of the device, or a batch it cannot run.
    fn forward(&self, images: &[&[u8]]) -> model::Result<Vec<f32>>;
}

impl Network for Model {
    fn card(&self) -> &Card {
        self.card()
    }

    fn recipe(&self) -> &Recipe {
        self.recipe()
    }

    fn labels(&self) -> &Labels {
        self.labels()
    }

    fn forward(&self, images: &[&[u8]]) -> model::Result<Vec<f32>> {
        self.forward(images)
    }
}
