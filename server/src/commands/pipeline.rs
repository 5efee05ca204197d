//! Classifies image files in the same way as the server classifies requests:
//! decode, preprocess, batch, forward pass. Many files are in flight at the same
//! time; the results are in the order of the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream;
use indicatif::ProgressBar;
use model::Outputs;

use crate::commands::load;
use crate::commands::output::progress_bar;
use crate::commands::read::read;
use crate::config::errors::ConfigErrors;
use crate::config::limits::{ImageFlags, ImageLimits};
use crate::config::model::{ModelConfig, ModelFlags};
use crate::config::settings::Settings;
use crate::core::admission::Admission;
use crate::core::batch::ImageOutput;
use crate::core::error::Error as InferenceError;
use crate::core::image::{EncodedImage, Encoding, ImageInput};
use crate::core::instance::{Instance, Rank, StartError};
use crate::core::labels::ModelLabels;
use crate::core::metrics::Metrics;
use crate::core::scheduler::Scheduler;

/// Why one file has no result.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The image in it cannot be classified.
    #[error(transparent)]
    Image(#[from] InferenceError),
}

/// Why no file can be classified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be loaded.
    #[error("the model cannot be loaded: {0}")]
    Load(#[from] model::Error),
    /// The model cannot run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The operating system cannot create the runtime.
    #[error("the asynchronous runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
}

/// The flags of a command that runs a model on image files.
#[derive(Clone, Debug, Args)]
pub struct PipelineFlags {
    #[command(flatten)]
    model: ModelFlags,

    #[command(flatten)]
    limits: ImageFlags,
}

impl PipelineFlags {
    /// Reads the flags and variables; invalid ones are added to the errors.
    pub fn read(&self, settings: &mut Settings) -> (ModelConfig, ImageLimits) {
        let model = self.model.read(None, settings);
        (model, self.limits.read(settings))
    }

    /// Reads the flags and variables of a command that has no other settings.
    ///
    /// # Errors
    /// All that are invalid.
    pub fn check(&self) -> Result<(ModelConfig, ImageLimits), ConfigErrors> {
        let mut settings = Settings::default();
        let config = self.read(&mut settings);
        settings.errors.none_or(config)
    }
}

/// A model with the thread pool, queue and limits that the server would use.
pub struct LocalPipeline {
    instance: Instance,
    admission: Admission,
    in_flight: usize,
}

impl LocalPipeline {
    /// Loads the model and starts its batch worker.
    ///
    /// # Errors
    /// A model that cannot be loaded or run.
    pub fn open(model: &ModelConfig, limits: &ImageLimits) -> Result<Self, Error> {
        let mut model = model.clone();
        model.run.options.cuda.largest_batch = limits.max_batch;
        let (model, pool) = load::load(&model)?;
        let metrics = Arc::new(Metrics::new());
        let limits = limits.for_files();
        let labels = ModelLabels {
            model: model.info().name.clone(),
            version: 1,
        };
        let instance = Instance::start(
            labels,
            Arc::new(model),
            limits.max_batch,
            &limits,
            &Scheduler::new(pool),
            Arc::clone(&metrics),
        )?;
        Ok(Self {
            admission: Admission::new(limits.max_in_flight, limits.body_memory, metrics),
            instance,
            in_flight: limits.max_in_flight,
        })
    }

    /// The loaded model.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Calls `each` with the logits of every file or the reason why there are
    /// none, in the order of `files`, and shows a progress bar if standard error
    /// is a terminal.
    ///
    /// # Errors
    /// When the operating system cannot create the runtime.
    pub fn classify(
        &self,
        files: &[PathBuf],
        each: impl FnMut(&Path, Result<ImageOutput, FileError>, &ProgressBar),
    ) -> Result<(), Error> {
        self.run(files, Outputs::LOGITS, each)
    }

    /// As [`LocalPipeline::classify`], with what `outputs` asks for besides the
    /// logits.
    ///
    /// # Errors
    /// As there.
    pub fn run(
        &self,
        files: &[PathBuf],
        outputs: Outputs,
        mut each: impl FnMut(&Path, Result<ImageOutput, FileError>, &ProgressBar),
    ) -> Result<(), Error> {
        let bar = progress_bar(files.len());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Error::Runtime)?;
        runtime.block_on(async {
            let results = stream::iter(files)
                .map(|path| self.file(path, outputs))
                .buffered(self.in_flight);
            let mut results = std::pin::pin!(results.enumerate());
            while let Some((i, result)) = results.next().await {
                each(&files[i], result, &bar);
                bar.inc(1);
            }
        });
        bar.finish_and_clear();
        Ok(())
    }

    async fn file(&self, path: &Path, outputs: Outputs) -> Result<ImageOutput, FileError> {
        let bytes = Bytes::from(read(path).await?);
        let share = Arc::new(self.admission.bytes());
        // at most as many files as permits are in flight
        let permit = self
            .admission
            .images(1)
            .ok()
            .and_then(|mut permits| permits.pop());
        let permit = permit.ok_or(InferenceError::QueueFull)?;
        Ok(self
            .instance
            .infer(
                ImageInput::Encoded(EncodedImage::new(bytes, Encoding::Raw, share)),
                outputs,
                permit,
                Rank::ALONE,
            )
            .await?)
    }
}
