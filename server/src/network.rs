//! What the service needs of a network: `model::Model` is one, and a test can
//! put a slow or failing one in its place.

use model::{Card, Model, Usage};
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

    /// Forward passes that run at the same time; the batcher keeps as many in
    /// flight.
    fn lanes(&self) -> usize {
        1
    }

    /// What cards were used for since this was last asked, if it runs on any.
    fn take_usage(&self) -> Option<Usage> {
        None
    }

    /// Why no forward pass can run any more, once that is so: readiness goes
    /// off for good.
    fn fault(&self) -> Option<String> {
        None
    }
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

    fn lanes(&self) -> usize {
        self.engine().lanes()
    }

    fn take_usage(&self) -> Option<Usage> {
        self.engine().take_usage()
    }

    fn fault(&self) -> Option<String> {
        self.engine().fault()
    }
}
