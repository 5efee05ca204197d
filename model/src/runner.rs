//! A loaded network: pixels in, logits out.

use std::time::Duration;

use candle_core::Tensor;
use weights::{Checkpoint, Facts, Labels, Recipe};

use crate::build::build;
use crate::cores::Cores;
use crate::cpu::Level;
use crate::engine::{Chosen, Engine};
use crate::error::{Error, Result};
use crate::family::{Architecture, Norm, Shortcut, Stem, StrideOn};
use crate::fit::{Fit, fit};
use crate::graph::Graph;
use crate::options::{Dtype, Isa, Options};
use crate::plan::{Input, Numbers, Plan};

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
    /// Instruction set of the kernels: `avx2`, ..., on cards the compute
    /// capability that they run for: `sm_90`; `sm_80,sm_90` on unequal ones.
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
        } = Engine::choose(&graph, checkpoint, &recipe, options, cores, || {
            numbers(options, row, checkpoint)
        })?;
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

    /// Its plan for the processor.
    ///
    /// # Errors
    /// A network that runs elsewhere.
    pub fn plan(&self) -> Result<&Plan> {
        match &self.engine {
            Engine::Cpu(plan) => Ok(plan),
            #[cfg(feature = "cuda")]
            Engine::Cuda(_) => Err(Error::Device {
                device: self.card.device.clone(),
                reason: "only the processor's steps tell what they make".into(),
            }),
        }
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
    pub fn forward_timed(
        &self,
        input: &[f32],
        observe: &mut (dyn FnMut(usize, Duration) + Send),
    ) -> Result<Vec<f32>> {
        self.engine.forward_timed(input, observe)
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
        ranges: own.ranges,
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

/// The number type and instruction set asked for, or the best for this
/// processor and checkpoint. bf16 is not chosen where it would show: group
/// norms magnify what it loses, and the few channels of the small networks for
/// CIFAR do not average it out (0.3 points of one's accuracy).
fn numbers(options: &Options, row: &Architecture, checkpoint: &Checkpoint) -> Result<Numbers> {
    let level = level(options.isa)?;
    let quantised = checkpoint.facts().ranges.is_some();
    let averages = row.norm == Norm::Batch && row.stem != Stem::Conv3;
    let dtype = match options.dtype {
        Dtype::F16 => {
            return Err(Error::Option {
                option: "dtype f16".into(),
                reason: "the processor computes in f32, bf16 or int8; f16 is for cards".into(),
            });
        }
        Dtype::Auto if quantised => Dtype::Int8,
        Dtype::Auto if level.has_bf16() && averages => Dtype::Bf16,
        Dtype::Auto => Dtype::F32,
        dtype => dtype,
    };
    Ok(Numbers { dtype, level })
}

/// The processor's best instruction set, or the one asked for.
fn level(choice: Option<Isa>) -> Result<Level> {
    let Some(isa) = choice else {
        return Ok(Level::best());
    };
    let level = Level::at_most(isa);
    if level.isa() == isa {
        return Ok(level);
    }
    let all = Level::all()
        .into_iter()
        .map(|level| level.isa().to_string());
    Err(Error::Option {
        option: format!("isa {isa}"),
        reason: format!("this processor has {}", all.collect::<Vec<_>>().join(", ")),
    })
}
