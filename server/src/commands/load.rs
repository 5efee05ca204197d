//! Opens the checkpoint of a command and builds its model.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use model::{Choice, Dtype, Model, ThreadPool};
use weights::{Checkpoint, Hub, Progress, Source};

use crate::commands::output;
use crate::config::model::ModelConfig;
use crate::core::network::load_model;

/// How often the bar of a download moves.
const TICK: Duration = Duration::from_millis(200);

/// Opens a source: the built-in model, a file, a folder, a repository of the Hugging
/// Face Hub or an object store. A download shows a progress bar if standard error is a
/// terminal.
///
/// # Errors
/// When the source does not exist, cannot be downloaded or cannot be read.
pub(super) fn open(source: &str) -> weights::Result<Checkpoint> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{spinner} {msg} {bar:40} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    // The bar is invisible where standard error is no terminal, and still while the
    // Hub does not answer.
    let mut announced = String::new();
    let opened = Source::parse(source)?.open(&Hub::from_env(), &mut |progress: Progress<'_>| {
        if bar.is_hidden() && announced != progress.file {
            progress.file.clone_into(&mut announced);
            output::note(format_args!("downloading {announced}"));
        }
        bar.enable_steady_tick(TICK);
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
