//! A loaded network: pixels in, logits out.

use weights::{Activation, Checkpoint, Hierarchy, Labels, Metadata, Preprocessing};

use crate::backend::{Backend, Input, StepObserver};
use crate::build::build;
use crate::class_map::{self, ClassWeights};
use crate::decisions::Decisions;
use crate::detect::{Detected, detect};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::family::{Architecture, Shortcut, Stem, StrideOn};
use crate::graph::Graph;
use crate::options::{EngineChoice, Options};
use crate::outputs::{Output, Outputs};
use crate::select;
use crate::source::Source;
use crate::threads::ThreadPool;

/// Metadata about a loaded network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
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
    /// Number of logits.
    pub classes: usize,
    /// Number of values of an image's embedding.
    pub embedding_size: usize,
    /// Height, width and channels of an image's last feature map.
    pub feature_map: [usize; 3],
    /// Whose kernels run it.
    pub engine: EngineChoice,
    /// Where it runs.
    pub device: Device,
    /// The data type of weights and feature maps.
    pub dtype: Dtype,
    /// Instruction set of the kernels: `avx2`, ..., on GPUs their compute
    /// capability: `sm_90`; `sm_80,sm_90` on unequal ones; `candle` where
    /// candle chooses.
    pub isa: String,
    /// SHA-256 of the weights.
    pub digest: String,
    /// What was decided about it, and from what.
    pub decisions: Decisions,
}

/// A network ready to run. `forward` takes `&self`: threads can share it.
pub struct Model {
    info: ModelInfo,
    preprocessing: Preprocessing,
    labels: Labels,
    activation: Activation,
    temperature: Option<f64>,
    hierarchy: Option<Hierarchy>,
    backend: Box<dyn Backend>,
}

impl Model {
    /// Builds the network that `checkpoint` holds, on the best backend that
    /// `options` allow.
    ///
    /// # Errors
    /// A checkpoint that matches no architecture of the family; a device, data
    /// type or instruction set that was named and that this machine lacks;
    /// kernels that fail their self-check.
    pub fn load(checkpoint: &Checkpoint, options: &Options, threads: &ThreadPool) -> Result<Self> {
        let detected = detect(checkpoint)?;
        let Detected { row, classes, .. } = detected;
        let preprocessing = preprocessing(row, checkpoint);
        let labels = checkpoint
            .metadata()
            .labels
            .clone()
            .unwrap_or_else(|| Labels::guess(classes));
        let labels = labels.expect(classes)?;
        let activation = activation(checkpoint, classes);
        let graph = build(row, preprocessing.crop as usize, classes);
        let source = Source {
            graph: &graph,
            row,
            checkpoint,
            preprocessing: &preprocessing,
            threads,
        };
        let backend = select::load(source, options)?;
        let info = ModelInfo {
            decisions: Decisions::about(checkpoint, &detected),
            ..info(source, backend.as_ref())?
        };
        Ok(Self {
            info,
            preprocessing,
            labels,
            activation,
            temperature: checkpoint.metadata().temperature,
            hierarchy: checkpoint.metadata().hierarchy.clone(),
            backend,
        })
    }

    /// The same network with other names for its classes.
    ///
    /// # Errors
    /// When there is not one name for each class.
    pub fn with_labels(self, labels: Labels) -> Result<Self> {
        let labels = labels.expect(self.info.classes)?;
        let mut info = self.info;
        info.decisions.labels = "a file of labels".into();
        Ok(Self {
            labels,
            info,
            ..self
        })
    }

    /// What was loaded, and how it runs.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// How to prepare an image for it.
    #[must_use]
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Its classes, in the order of the logits.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What turns its logits into probabilities.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// What to divide the logits by before they become probabilities, if the
    /// checkpoint says it.
    #[must_use]
    pub fn temperature(&self) -> Option<f64> {
        self.temperature
    }

    /// The checkpoint's own categories above its classes, if it has any.
    #[must_use]
    pub fn hierarchy(&self) -> Option<&Hierarchy> {
        self.hierarchy.as_ref()
    }

    /// What runs it: its steps, memory and state.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// What it computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.backend.graph()
    }

    /// Runs `N` images, given as RGB pixels `[S, S, 3]` each, `S` being
    /// [`ModelInfo::input_size`]. Normalises the pixels.
    ///
    /// # Errors
    /// An image of another size; a failure of the device.
    pub fn forward(&self, images: &[&[u8]], outputs: Outputs) -> Result<Output> {
        self.backend.forward(Input::Pixels(images), outputs)
    }

    /// The classifier's weights and bias of a class, for its class activation
    /// map ([`ClassWeights::map`]). They are read from the memory of the backend
    /// on each call.
    ///
    /// # Errors
    /// [`Error::ClassMaps`] for a network without class activation maps; a class
    /// that does not exist; a failure of the device.
    pub fn class_weights(&self, class: usize) -> Result<ClassWeights> {
        self.has_class_maps()?;
        self.backend.class_weights(class)
    }

    /// Whether the network has class activation maps.
    ///
    /// # Errors
    /// [`Error::ClassMaps`] with the reason why not.
    pub fn has_class_maps(&self) -> Result<()> {
        Ok(class_map::check(self.graph())?)
    }

    /// As [`Model::forward`], of normalised planes `[N, 3, S, S]`.
    ///
    /// # Errors
    /// A wrong number of values; a failure of the device.
    pub fn forward_planes(&self, planes: &[f32], outputs: Outputs) -> Result<Output> {
        self.backend.forward(Input::Planes(planes), outputs)
    }

    /// As [`Model::forward_planes`], for the logits; reports each step's index
    /// and duration to `observe`.
    ///
    /// # Errors
    /// As there.
    pub fn forward_timed(&self, planes: &[f32], observe: StepObserver) -> Result<Output> {
        self.backend.forward_timed(planes, observe)
    }
}

fn info(source: Source, backend: &dyn Backend) -> Result<ModelInfo> {
    let graph = source.graph;
    let shape = |value: Option<usize>, output| match value {
        Some(value) => Ok(graph.shape(value)),
        None => Err(Error::MissingOutput { output }),
    };
    let embedding = shape(graph.embedding(), "embedding")?;
    let map = shape(graph.feature_map(), "feature map")?;
    let backend = backend.info();
    Ok(ModelInfo {
        name: source.checkpoint.name().to_owned(),
        architecture: source.row.name.to_owned(),
        parameters: graph.trained_values(),
        multiply_adds: graph.multiply_adds(),
        input_size: graph.shape(0).height,
        classes: graph.shape(graph.output()).channels,
        embedding_size: embedding.channels,
        feature_map: [map.height, map.width, map.channels],
        engine: backend.engine,
        device: backend.device,
        dtype: backend.dtype,
        isa: backend.isa,
        digest: source.checkpoint.digest().to_owned(),
        decisions: Decisions::default(),
    })
}

/// The checkpoint's metadata; where it has none, what its architecture implies.
///
/// # Errors
/// A checkpoint that matches no architecture of the family.
pub fn complete_metadata(checkpoint: &Checkpoint) -> Result<Metadata> {
    let Detected { row, classes, .. } = detect(checkpoint)?;
    let own = checkpoint.metadata().clone();
    let labels = own.labels.unwrap_or_else(|| Labels::guess(classes));
    Ok(Metadata {
        architecture: Some(row.name.to_owned()),
        preprocessing: Some(preprocessing(row, checkpoint)),
        labels: Some(labels.expect(classes)?),
        classes: own.classes,
        channels: own.channels,
        activation: Some(activation(checkpoint, classes)),
        stride_on_first_1x1: Some(row.stride_on == StrideOn::Conv1),
        pooled_shortcut: Some(row.shortcut == Shortcut::AvgPoolProjection),
        ranges: own.ranges,
        temperature: own.temperature,
        hierarchy: own.hierarchy,
    })
}

/// The checkpoint's own activation, else the usual one for this many classes.
fn activation(checkpoint: &Checkpoint, classes: usize) -> Activation {
    let own = checkpoint.metadata().activation.unwrap_or_default();
    own.for_classes(classes)
}

/// The checkpoint's own preprocessing, else the usual one for its dataset.
pub(crate) fn preprocessing(row: &Architecture, checkpoint: &Checkpoint) -> Preprocessing {
    let own = checkpoint.metadata().preprocessing.clone();
    own.unwrap_or_else(|| match row.stem {
        Stem::Conv3 => Preprocessing::cifar(),
        _ => Preprocessing::imagenet(),
    })
}
