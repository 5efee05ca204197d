//! A fake network with 256 classes. The class of an image is the mean of its
//! pixels plus an offset, so a flat grey image of value 77 must come back as
//! class 77, whatever the other images of its batch are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::{Device, Dtype, EngineChoice, ModelInfo, Output, Outputs, Usage};
use resnet_server::core::network::Network;
use weights::{Hierarchy, Labels, Preprocessing, Resize};

use super::gate::Gate;

pub(crate) const CLASSES: usize = 256;

/// Width and height of the input, in pixels.
pub(crate) const SIDE: u32 = 8;

/// What a network does with the classes of a batch before it returns.
type Behavior = Box<dyn Fn(&[u8]) -> model::Result<()> + Send + Sync>;

/// What a network does with the logits of a batch.
type Corruption = Box<dyn Fn(&[u8], &mut Vec<f32>) + Send + Sync>;

pub(crate) struct FakeNetwork {
    info: ModelInfo,
    preprocessing: Preprocessing,
    labels: Labels,
    hierarchy: Option<Hierarchy>,
    behavior: Behavior,
    corruption: Corruption,
    offset: u8,
    memory: usize,
    warmed_up: AtomicBool,
    /// The classes of each batch that ran, without the warm-up's.
    pub(crate) batches: Mutex<Vec<Vec<u8>>>,
    /// While it is closed, forward passes wait.
    pub(crate) gate: Gate,
    /// While it is closed, the decoding of images waits.
    pub(crate) decode_gate: Gate,
    /// Makes the preprocessing of images panic.
    pub(crate) panic_on_preprocessing: AtomicBool,
    pub(crate) streams: AtomicUsize,
    /// Why the device is lost.
    pub(crate) device_error: Mutex<Option<String>>,
}

fn model_info(device: Device) -> ModelInfo {
    ModelInfo {
        name: "fake".into(),
        architecture: "mean".into(),
        parameters: 0,
        multiply_adds: u64::from(SIDE * SIDE * 3),
        input_size: SIDE as usize,
        classes: CLASSES,
        embedding_size: 0,
        feature_map: [0; 3],
        engine: EngineChoice::Fused,
        device,
        dtype: Dtype::F32,
        isa: "portable".into(),
        digest: "none".into(),
        decisions: model::Decisions::default(),
    }
}

impl FakeNetwork {
    pub(crate) fn new() -> Self {
        Self {
            info: model_info(Device::Cpu),
            preprocessing: Preprocessing {
                resize: Resize::ShortSide(SIDE),
                crop: SIDE,
                ..Preprocessing::imagenet()
            },
            labels: Labels::from_names((0..CLASSES).map(|class| format!("grey {class}"))),
            hierarchy: None,
            behavior: Box::new(|_| Ok(())),
            corruption: Box::new(|_, _| {}),
            offset: 0,
            memory: 0,
            warmed_up: false.into(),
            batches: Mutex::default(),
            gate: Gate::default(),
            decode_gate: Gate::default(),
            panic_on_preprocessing: false.into(),
            streams: 1.into(),
            device_error: Mutex::default(),
        }
    }

    /// With code that runs in each forward pass and can fail.
    pub(crate) fn with_behavior(
        behavior: impl Fn(&[u8]) -> model::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            behavior: Box::new(behavior),
            ..Self::new()
        }
    }

    /// With code that changes the logits of a batch.
    pub(crate) fn with_corruption(
        corruption: impl Fn(&[u8], &mut Vec<f32>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            corruption: Box::new(corruption),
            ..Self::new()
        }
    }

    /// A network on a GPU with this number of streams. Batches that contain an
    /// image of class 14 fail.
    pub(crate) fn on_gpu(streams: usize) -> Self {
        let fake = Self::with_behavior(|classes| match classes.contains(&14) {
            true => Err(model::Error::Batch("on purpose".into())),
            false => Ok(()),
        });
        Self {
            info: model_info(Device::Cuda(vec![0])),
            streams: streams.into(),
            ..fake
        }
    }

    /// A network whose classes are shifted by `offset`.
    pub(crate) fn with_offset(offset: u8) -> Self {
        Self {
            offset,
            ..Self::new()
        }
    }

    /// The same network, as one that uses this number of bytes.
    pub(crate) fn with_memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// The same network with categories above its classes.
    pub(crate) fn with_hierarchy(self, text: &str) -> Self {
        Self {
            hierarchy: Some(Hierarchy::parse(text).unwrap()),
            ..self
        }
    }

    /// The number of batches that ran, without the warm-up's.
    pub(crate) fn batch_count(&self) -> usize {
        self.batches.lock().unwrap().len()
    }
}

impl Network for FakeNetwork {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn preprocessing(&self) -> &Preprocessing {
        assert!(!self.panic_on_preprocessing.load(Ordering::SeqCst));
        self.decode_gate.pass();
        &self.preprocessing
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn hierarchy(&self) -> Option<&Hierarchy> {
        self.hierarchy.as_ref()
    }

    fn forward(&self, images: &[&[u8]], _: Outputs) -> model::Result<Output> {
        let class = |image: &&[u8]| {
            let sum: usize = image.iter().map(|&value| usize::from(value)).sum();
            ((sum / image.len()) as u8).wrapping_add(self.offset)
        };
        let classes: Vec<u8> = images.iter().map(class).collect();
        if self.warmed_up.swap(true, Ordering::SeqCst) {
            self.batches.lock().unwrap().push(classes.clone());
        }
        self.gate.pass();
        (self.behavior)(&classes)?;
        let mut logits = vec![0.0; images.len() * CLASSES];
        for (row, &class) in logits.chunks_exact_mut(CLASSES).zip(&classes) {
            row[usize::from(class)] = 20.0;
        }
        (self.corruption)(&classes, &mut logits);
        Ok(Output {
            logits,
            ..Output::default()
        })
    }

    /// A value of the planes counts as one of the pixels. The logits of values that
    /// no pixel has are infinite.
    fn forward_planes(&self, planes: &[f32], outputs: Outputs) -> model::Result<Output> {
        let size = (SIDE * SIDE * 3) as usize;
        let images = planes.chunks_exact(size);
        let bytes = images.map(|image| image.iter().map(|&value| value as u8).collect());
        let images: Vec<Vec<u8>> = bytes.collect();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let mut output = self.forward(&images, outputs)?;
        if planes.iter().any(|value| value.abs() > 1e9) {
            output.logits[0] = f32::INFINITY;
        }
        Ok(output)
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    fn memory(&self, _: usize) -> usize {
        self.memory
    }

    fn take_usage(&self) -> Option<Usage> {
        (!self.info.device.is_cpu()).then_some(Usage {
            upload: Duration::from_secs(1),
            compute: Duration::from_secs(2),
            memory: 3,
        })
    }

    fn device_error(&self) -> Option<String> {
        self.device_error.lock().unwrap().clone()
    }
}
