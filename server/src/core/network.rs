//! What the core requires of a network: `model::Model` implements it, and
//! tests replace it by slow or failing ones.

use std::path::Path;

use model::{
    ClassWeights, Model, ModelInfo, NoClassMaps, Options, Output, Outputs, ThreadPool, Usage,
};
use weights::{Activation, Checkpoint, Hierarchy, Labels, Preprocessing};

use super::top_k::Scale;

/// A network that is ready to run: pixels in, logits out.
pub trait Network: Send + Sync + 'static {
    /// Name, architecture, device and so on.
    fn info(&self) -> &ModelInfo;

    /// How to preprocess an image for it.
    fn preprocessing(&self) -> &Preprocessing;

    /// Its classes, in the order of the logits.
    fn labels(&self) -> &Labels;

    /// What turns the logits into probabilities.
    fn activation(&self) -> Activation {
        Activation::Softmax
    }

    /// What to divide the logits by before they become probabilities, if that
    /// was fitted.
    fn temperature(&self) -> Option<f64> {
        None
    }

    /// What turns the logits into the values of an answer.
    fn scale(&self) -> Scale {
        Scale {
            activation: self.activation(),
            temperature: self.temperature().unwrap_or(1.0),
        }
    }

    /// The categories above its classes, where they are not `WordNet`'s.
    fn hierarchy(&self) -> Option<&Hierarchy> {
        None
    }

    /// Logits `[N, classes]`, and what else `outputs` asks for, of `N` images of
    /// RGB pixels `[S, S, 3]` each, `S` being the input size.
    ///
    /// # Errors
    /// An error of the device, or a batch that the network cannot run.
    fn forward(&self, images: &[&[u8]], outputs: Outputs) -> model::Result<Output>;

    /// As [`Network::forward`], of normalised planes `[N, 3, S, S]`.
    ///
    /// # Errors
    /// As there.
    fn forward_planes(&self, planes: &[f32], outputs: Outputs) -> model::Result<Output>;

    /// Whether the network has class activation maps.
    ///
    /// # Errors
    /// [`model::Error::ClassMaps`] with the reason why not.
    fn has_class_maps(&self) -> model::Result<()> {
        Err(NoClassMaps::Unknown.into())
    }

    /// What turns a feature map into the class activation map of `class`.
    ///
    /// # Errors
    /// As [`Network::has_class_maps`]; an error of the device.
    fn class_weights(&self, class: usize) -> model::Result<ClassWeights> {
        let _ = class;
        Err(NoClassMaps::Unknown.into())
    }

    /// Forward passes that run at the same time; the batcher starts as many
    /// workers.
    fn streams(&self) -> usize {
        1
    }

    /// Bytes of memory for the weights and for the feature maps of a batch of
    /// `batch` images.
    fn memory(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }

    /// Time and memory used on GPUs since the last call; `None` without GPUs.
    fn take_usage(&self) -> Option<Usage> {
        None
    }

    /// Why no forward pass can run any more, once the device is lost.
    fn device_error(&self) -> Option<String> {
        None
    }
}

/// Builds the network of a checkpoint. The class names in the file `labels`, if
/// there is one, replace those of the checkpoint.
///
/// # Errors
/// A checkpoint that cannot be run, a device that is missing, or labels that
/// cannot be read or do not match the classes.
pub fn load_model(
    checkpoint: &Checkpoint,
    options: &Options,
    labels: Option<&Path>,
    pool: &ThreadPool,
) -> model::Result<Model> {
    let model = Model::load(checkpoint, options, pool)?;
    match labels {
        Some(file) => model.with_labels(Labels::from_file(file)?),
        None => Ok(model),
    }
}

impl Network for Model {
    fn info(&self) -> &ModelInfo {
        self.info()
    }

    fn preprocessing(&self) -> &Preprocessing {
        self.preprocessing()
    }

    fn labels(&self) -> &Labels {
        self.labels()
    }

    fn activation(&self) -> Activation {
        self.activation()
    }

    fn temperature(&self) -> Option<f64> {
        self.temperature()
    }

    fn hierarchy(&self) -> Option<&Hierarchy> {
        self.hierarchy()
    }

    fn forward(&self, images: &[&[u8]], outputs: Outputs) -> model::Result<Output> {
        self.forward(images, outputs)
    }

    fn forward_planes(&self, planes: &[f32], outputs: Outputs) -> model::Result<Output> {
        self.forward_planes(planes, outputs)
    }

    fn has_class_maps(&self) -> model::Result<()> {
        self.has_class_maps()
    }

    fn class_weights(&self, class: usize) -> model::Result<ClassWeights> {
        self.class_weights(class)
    }

    fn streams(&self) -> usize {
        self.backend().streams()
    }

    fn memory(&self, batch: usize) -> usize {
        self.backend().weight_bytes() + self.backend().arena_bytes(batch)
    }

    fn take_usage(&self) -> Option<Usage> {
        self.backend().take_usage()
    }

    fn device_error(&self) -> Option<String> {
        self.backend().failure()
    }
}
