//! The configuration of a model in the form of Triton's `ModelConfig`, with the
//! fields that clients read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::metadata::{INPUT, PLATFORM};
use super::outputs::Output;
use super::policy::{DEFAULT_PRIORITY_LEVEL, PRIORITY_LEVELS};
use crate::core::instance::Instance;

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelConfig {
    /// Its name, as in the request.
    pub name: String,
    /// [`PLATFORM`].
    pub platform: &'static str,
    /// As the platform.
    pub backend: &'static str,
    /// Which versions are served.
    pub version_policy: VersionPolicy,
    /// The most images of a request.
    pub max_batch_size: usize,
    /// One.
    pub input: Vec<InputConfig>,
    /// One.
    pub output: Vec<OutputConfig>,
    /// None.
    pub batch_input: [(); 0],
    /// None.
    pub batch_output: [(); 0],
    /// Requests form batches without a delay.
    pub dynamic_batching: DynamicBatching,
    /// What runs it.
    pub instance_group: Vec<InstanceGroup>,
    /// Other settings.
    pub parameters: BTreeMap<&'static str, ParameterConfig>,
    /// Whether a request may have several responses.
    pub model_transaction_policy: TransactionPolicy,
}

/// Which versions are served.
#[derive(Clone, Debug, Serialize)]
pub struct VersionPolicy {
    /// The newest.
    pub latest: Latest,
}

/// How many of the newest versions are served.
#[derive(Clone, Debug, Serialize)]
pub struct Latest {
    /// 1.
    pub num_versions: u32,
}

/// The input.
#[derive(Clone, Debug, Serialize)]
pub struct InputConfig {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub data_type: &'static str,
    /// The order of its dimensions.
    pub format: &'static str,
    /// Its dimensions without the batch's.
    pub dims: [usize; 3],
}

/// The output.
#[derive(Clone, Debug, Serialize)]
pub struct OutputConfig {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub data_type: &'static str,
    /// Its dimensions without the batch's.
    pub dims: [usize; 1],
    /// Empty: the labels are those of the checkpoint.
    pub label_filename: &'static str,
}

/// How batches are formed.
#[derive(Clone, Debug, Serialize)]
pub struct DynamicBatching {
    /// None.
    pub preferred_batch_size: [u32; 0],
    /// 0.
    pub max_queue_delay_microseconds: u64,
    /// [`PRIORITY_LEVELS`].
    pub priority_levels: u64,
    /// [`DEFAULT_PRIORITY_LEVEL`].
    pub default_priority_level: u64,
}

/// What runs a model.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceGroup {
    /// Its name.
    pub name: String,
    /// `KIND_CPU` or `KIND_GPU`.
    pub kind: &'static str,
    /// Forward passes at the same time.
    pub count: usize,
}

/// A setting.
#[derive(Clone, Debug, Serialize)]
pub struct ParameterConfig {
    /// Its value.
    pub string_value: String,
}

/// Whether a request may have several responses.
#[derive(Clone, Debug, Serialize)]
pub struct TransactionPolicy {
    /// False.
    pub decoupled: bool,
}

impl ModelConfig {
    /// The configuration of a loaded model.
    #[must_use]
    pub fn new(name: &str, instance: &Instance, max_batch_size: usize) -> Self {
        let network = instance.network();
        let info = network.info();
        let side = info.input_size;
        let parameter = |string_value: String| ParameterConfig { string_value };
        Self {
            name: name.to_owned(),
            platform: PLATFORM,
            backend: PLATFORM,
            version_policy: VersionPolicy {
                latest: Latest { num_versions: 1 },
            },
            max_batch_size,
            input: vec![InputConfig {
                name: INPUT,
                data_type: "TYPE_UINT8",
                format: "FORMAT_NHWC",
                dims: [side, side, 3],
            }],
            output: vec![OutputConfig {
                name: Output::Logits.name(),
                data_type: "TYPE_FP32",
                dims: [network.labels().len()],
                label_filename: "",
            }],
            batch_input: [],
            batch_output: [],
            dynamic_batching: DynamicBatching {
                preferred_batch_size: [],
                max_queue_delay_microseconds: 0,
                priority_levels: PRIORITY_LEVELS,
                default_priority_level: DEFAULT_PRIORITY_LEVEL,
            },
            instance_group: vec![InstanceGroup {
                name: format!("{name}_0"),
                kind: match info.device.is_cpu() {
                    true => "KIND_CPU",
                    false => "KIND_GPU",
                },
                count: network.streams(),
            }],
            parameters: BTreeMap::from([
                ("architecture", parameter(info.architecture.clone())),
                ("device", parameter(info.device.to_string())),
                ("dtype", parameter(info.dtype.name().to_owned())),
            ]),
            model_transaction_policy: TransactionPolicy { decoupled: false },
        }
    }
}
