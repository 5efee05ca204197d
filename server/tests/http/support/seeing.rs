//! A network whose feature map is the brightness of the image, with two classes.

use std::sync::{Arc, Mutex};

use model::{ClassWeights, Device, Dtype, EngineChoice, ModelInfo, Output, Outputs, ThreadPool};
use resnet_server::core::network::Network;
use resnet_server::core::registry::loader::{LoadError, Loader};
use resnet_server::core::serving::Serving;
use resnet_server::core::spec::ModelSpec;
use weights::{Labels, Preprocessing, Resize};

use super::gate::Gate;
use super::loader::spec;
use super::server::limits;

/// Side of the input in pixels.
const SIDE: usize = 32;
/// Height and width of the feature map; a cell covers 4 x 4 pixels.
pub(crate) const MAP: usize = 8;

/// The weights of two channels and the bias of the classes bright and dark.
pub(crate) const CLASSES: [([f32; 2], f32); 2] = [([2.0, 0.5], 0.25), ([-1.0, 3.0], -0.5)];

/// A network whose feature map is the brightness of the image.
pub(crate) struct SeeingNetwork {
    info: ModelInfo,
    preprocessing: Preprocessing,
    labels: Labels,
    /// The number of images and the outputs of each batch, the warm-up's included.
    pub(crate) batches: Mutex<Vec<(usize, Outputs)>>,
    pub(crate) gate: Gate,
}

impl SeeingNetwork {
    fn new() -> Self {
        Self {
            info: ModelInfo {
                name: "seeing".into(),
                architecture: "brightness".into(),
                parameters: 0,
                multiply_adds: 0,
                input_size: SIDE,
                classes: CLASSES.len(),
                embedding_size: 2,
                feature_map: [MAP, MAP, 2],
                engine: EngineChoice::Fused,
                device: Device::Cpu,
                dtype: Dtype::F32,
                isa: "portable".into(),
                digest: "none".into(),
                decisions: model::Decisions::default(),
            },
            preprocessing: Preprocessing {
                resize: Resize::ShortSide(40),
                crop: SIDE as u32,
                ..Preprocessing::imagenet()
            },
            labels: Labels::from_names(["bright", "dark"].map(str::to_owned)),
            batches: Mutex::default(),
            gate: Gate::default(),
        }
    }

    /// `[H, W, C]`: the mean of each cell, 0 to 1, and a constant.
    fn feature_map(pixels: &[u8]) -> Vec<f32> {
        let mut map = Vec::new();
        let cell = SIDE / MAP;
        for (y, x) in (0..MAP).flat_map(|y| (0..MAP).map(move |x| (y, x))) {
            let rows = y * cell..(y + 1) * cell;
            let places = rows.flat_map(|y| (x * cell..(x + 1) * cell).map(move |x| y * SIDE + x));
            let sum: f32 = places.map(|at| f32::from(pixels[at * 3]) / 255.0).sum();
            map.extend([sum / (cell * cell) as f32, 1.0]);
        }
        map
    }
}

impl Network for SeeingNetwork {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn forward(&self, images: &[&[u8]], outputs: Outputs) -> model::Result<Output> {
        self.batches.lock().unwrap().push((images.len(), outputs));
        self.gate.pass();
        let (mut logits, mut embedding, mut feature_map) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            let map = Self::feature_map(image);
            let mean = |channel: usize| {
                map.iter().skip(channel).step_by(2).sum::<f32>() / (MAP * MAP) as f32
            };
            let pooled = [mean(0), mean(1)];
            let logit = |([a, b], bias): ([f32; 2], f32)| a * pooled[0] + b * pooled[1] + bias;
            logits.extend(CLASSES.map(logit));
            embedding.extend(pooled);
            feature_map.extend(map);
        }
        Ok(Output {
            logits,
            embedding: outputs.embedding.then_some(embedding),
            feature_map: outputs.feature_map.then_some(feature_map),
        })
    }

    fn forward_planes(&self, _: &[f32], _: Outputs) -> model::Result<Output> {
        Err(model::Error::Batch("no planes".into()))
    }

    fn has_class_maps(&self) -> model::Result<()> {
        Ok(())
    }

    fn class_weights(&self, class: usize) -> model::Result<ClassWeights> {
        let (weight, bias) = CLASSES[class];
        Ok(ClassWeights {
            weight: weight.into(),
            bias,
        })
    }
}

struct Ready(Arc<SeeingNetwork>);

impl Loader for Ready {
    fn versions(&self, _: &ModelSpec) -> Result<Vec<u64>, LoadError> {
        Ok(vec![1])
    }

    fn load(&self, _: &ModelSpec, _: u64, _: &ThreadPool) -> Result<Arc<dyn Network>, LoadError> {
        Ok(Arc::clone(&self.0) as Arc<dyn Network>)
    }
}

pub(crate) async fn seeing() -> (Arc<Serving>, Arc<SeeingNetwork>) {
    let network = Arc::new(SeeingNetwork::new());
    let loader = Box::new(Ready(Arc::clone(&network)));
    let serving = Serving::new(limits(), None, ThreadPool::new(2).unwrap(), loader);
    serving.registry().apply(vec![spec("seeing")], "seeing");
    serving.registry().wait_until_loaded().await;
    (Arc::new(serving), network)
}
