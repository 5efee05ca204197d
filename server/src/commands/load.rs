//! Opens the checkpoint of a command and builds its model.

use indicatif::{ProgressBar, ProgressStyle};
use model::{Choice, Dtype, Model, ThreadPool};
use weights::{Checkpoint, Hub, Progress, Source};

use crate::config::model::ModelConfig;
use crate::core::network::load_model;

/// Opens a source: the built-in model, a file, a folder or a repository of the
/// Hugging Face Hub. A download shows a progress bar if standard error is a
/// terminal.
///
/// # Errors
/// When the source does not exist, cannot be downloaded or cannot be read.
pub(super) fn open(source: &str) -> weights::Result<Checkpoint> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let opened = Source::parse(source)?.open(&Hub::from_env(), &mut |progress: Progress<'_>| {
        bar.set_message(progress.file.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    opened
}

/// The model, and the threads that it runs on.
///
/// # Errors
/// A checkpoint that cannot be opened or run, or a device that is missing.
pub(super) fn load(config: &ModelConfig) -> model::Result<(Model, ThreadPool)> {
    build(config, &open(&config.source)?)
}

/// As [`load`]; the name of an architecture stands for a model with random
/// weights.
///
/// # Errors
/// As [`load`].
pub(super) fn load_or_generate(config: &ModelConfig) -> model::Result<(Model, ThreadPool)> {
    match open(&config.source) {
        Err(weights::Error::Unknown { name }) => build(config, &random_weights(config, &name)?),
        opened => build(config, &opened?),
    }
}

/// Random weights, with quantization ranges if the data type needs them.
fn random_weights(config: &ModelConfig, architecture: &str) -> model::Result<Checkpoint> {
    if config.run.options.dtype == Choice::Named(Dtype::Int8) {
        model::synthetic_quantized(architecture, &ThreadPool::new(config.run.threads)?)
    } else {
        model::synthetic(architecture)
    }
}

/// The model of an opened checkpoint, and the threads that it runs on.
///
/// # Errors
/// A checkpoint that cannot be run, or a device that is missing.
pub(super) fn build(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> model::Result<(Model, ThreadPool)> {
    let pool = ThreadPool::new(config.run.threads)?;
    let options = &config.run.options;
    let model = load_model(checkpoint, options, config.labels.as_deref(), &pool)?;
    Ok((model, pool))
}
