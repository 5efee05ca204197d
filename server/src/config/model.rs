//! The one model of a command other than `serve`.

use std::path::PathBuf;

use model::{Choice, CudaOptions, Device, Dtype, Options, Tuning, family};
use weights::Source;

use crate::config::errors::ConfigErrors;
use crate::config::run::{RunConfig, RunFlags, threads};
use crate::config::settings::Settings;
use crate::config::source::unknown_source;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelFlags {
    /// Model: the built-in model's name, a checkpoint file, a folder with
    /// config.json, a Hugging Face repository, org/name or
    /// org/name@revision, or an address, s3://bucket/folder; with
    /// @sha256:DIGEST only these weights [default: resnet50_thin]
    #[arg(
        long,
        visible_alias = "weights",
        env = "RESNET_MODEL",
        value_name = "SOURCE"
    )]
    model: Option<String>,

    /// File with the class names: a JSON array or object, or one name per line
    #[arg(long, env = "RESNET_LABELS", value_name = "FILE")]
    labels: Option<PathBuf>,

    #[command(flatten)]
    run: RunFlags,
}

/// One model, and how it runs.
#[derive(Clone, Debug, Default)]
pub struct ModelConfig {
    /// The built-in model's name, a file, a folder or a repository; for `bench`
    /// and `inspect` also the name of an architecture.
    pub source: String,
    /// A file of class names that replaces those of the checkpoint.
    pub labels: Option<PathBuf>,
    /// Device, data type, backend and threads.
    pub run: RunConfig,
}

impl ModelFlags {
    /// Reads every setting; invalid ones are added to the errors. A `source`
    /// given as an argument replaces `--model`.
    pub fn read(&self, source: Option<&str>, settings: &mut Settings) -> ModelConfig {
        let source = source.or(self.model.as_deref());
        ModelConfig {
            source: settings.read("model", source, weights::DEFAULT_NAME, known),
            labels: self.labels.clone(),
            run: self.run.read(settings),
        }
    }
}

impl ModelConfig {
    /// A model that runs in f32 on the CPU, to calibrate its quantization.
    ///
    /// # Errors
    /// An unknown source, or an invalid number of threads.
    pub fn for_calibration(source: &str, thread_count: &str) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::default();
        let config = Self {
            source: settings.read("model", Some(source), "", known),
            labels: None,
            run: RunConfig {
                options: Options {
                    device: Choice::Named(Device::Cpu),
                    dtype: Choice::Named(Dtype::F32),
                    cuda: CudaOptions {
                        tuning: Tuning::Guess,
                        ..CudaOptions::default()
                    },
                    ..Options::default()
                },
                threads: settings.read("threads", Some(thread_count), "", threads),
            },
        };
        settings.errors.none_or(config)
    }
}

/// A checkpoint's source or, for the commands that generate random weights, an
/// architecture.
fn known(name: &str) -> Result<String, String> {
    if Source::parse(name).is_ok() || family::find(name).is_some() {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{}; the architectures with the most similar names, which bench and inspect accept, are {}",
        unknown_source(),
        family::nearest(name).join(", ")
    ))
}
