//! A loaded network: pixels in, logits out.

use std::time::Duration;

use candle_core::Tensor;
use weights::{Checkpoint, Facts, Labels, Recipe};

use crate::build::build;
use crate::cores::Cores;
use crate::engine::{Chosen, Engine};
use crate::error::Result;
use crate::family::{Architecture, Shortcut, Stem, StrideOn};
use crate::fit::{Fit, fit};
use crate::graph::Graph;
use crate::options::Options;
use crate::plan::Input;

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
    /// `cpu`, `cuda:0` or `cuda:0,1`.
    pub device: String,
    /// `f32`, ...
    pub dtype: String,
    /// Instruction set of the kernels: `avx2`, ..., `ptx` on cards.
    pub isa: String,
    /// SHA-256 of the weights.
    pub digest: String,
}

/// A network ready to run. Shared freely: `forward` takes `&self`.
pub struct Model {
    card: Card,
    recipe: Recipe,
    labels: Labels,
    engine: Engine,
}

impl Model {
    /// Builds the network that `checkpoint` holds.
    ///
    /// # Errors
    /// A checkpoint that fits no row of the family, or a device, type or
    /// instruction set that this machine lacks.
    pub fn load(checkpoint: &Checkpoint, options: &Options, cores: &Cores) -> Result<Self> {
        let Fit { row, classes } = fit(checkpoint)?;
        let recipe = recipe(row, checkpoint);
        let labels = checkpoint
            .facts()
            .labels
            .clone()
            .unwrap_or_else(|| Labels::guess(classes));
        let labels = labels.expect(classes)?;
        let graph = build(row, recipe.crop as usize, classes);
        let Chosen {
            engine,
            device,
            dtype,
            isa,
        } = Engine::choose(&graph, checkpoint, &recipe, options, cores)?;
        let card = Card {
            name: checkpoint.name().to_owned(),
            architecture: row.name.to_owned(),
            parameters: graph.trained_values(),
            multiply_adds: graph.multiply_adds(),
            input_size: recipe.crop as usize,
            classes,
            device,
            dtype,
            isa,
            digest: checkpoint.digest().to_owned(),
        };
        Ok(Self {
            card,
            recipe,
            labels,
            engine,
        })
    }

    /// The same network with other names for its classes.
    ///
    /// # Errors
    /// When there is not one name for each class.
    pub fn with_labels(self, labels: Labels) -> Result<Self> {
        let labels = labels.expect(self.card.classes)?;
        Ok(Self { labels, ..self })
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

    /// Its steps, to inspect and time.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Logits `[N, classes]`, row-major, of `N` images given as RGB pixels
    /// `[S, S, 3]` each, `S` the card's input size. Normalisation happens here.
    ///
    /// # Errors
    /// A wrong number of bytes; a failure of the device.
    pub fn forward(&self, images: &[&[u8]]) -> Result<Vec<f32>> {
        self.engine.forward(Input::Pixels(images))
    }

    /// Logits `[N, classes]` of normalised planes `[N, 3, S, S]`, a candle
    /// tensor.
    ///
    /// # Errors
    /// A tensor of another shape or type.
    pub fn forward_tensor(&self, images: &Tensor) -> Result<Tensor> {
        self.engine.apply(images)
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.engine.graph()
    }

    /// As [`Model::forward_planes`]; tells `observe` each step's index and
    /// duration.
    ///
    /// # Errors
    /// As there.
    pub fn forward_observed(
        &self,
        input: &[f32],
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        self.engine.forward_observed(input, observe)
    }

    /// As [`Model::forward_tensor`], from and to slices.
    ///
    /// # Errors
    /// A wrong number of values.
    pub fn forward_planes(&self, input: &[f32]) -> Result<Vec<f32>> {
        self.engine.forward(Input::Planes(input))
    }
}

/// What is known of `checkpoint` once its row is: the facts that it carries
/// itself, and for those it does not what its row implies.
///
/// # Errors
/// A checkpoint that fits no row of the family.
pub fn complete_facts(checkpoint: &Checkpoint) -> Result<Facts> {
    let Fit { row, classes } = fit(checkpoint)?;
    let own = checkpoint.facts().clone();
    Ok(Facts {
        architecture: Some(row.name.to_owned()),
        recipe: Some(recipe(row, checkpoint)),
        labels: Some(own.labels.unwrap_or_else(|| Labels::guess(classes))),
        stride_on_first_1x1: Some(row.stride_on == StrideOn::Conv1),
        pooled_shortcut: Some(row.shortcut == Shortcut::AvgPoolProjection),
    })
}

/// The checkpoint's own recipe, else the usual one for its row's data set.
fn recipe(row: &Architecture, checkpoint: &Checkpoint) -> Recipe {
    let own = checkpoint.facts().recipe.clone();
    own.unwrap_or_else(|| match row.stem {
        Stem::Conv3 => Recipe::cifar(),
        _ => Recipe::imagenet(),
    })
}
