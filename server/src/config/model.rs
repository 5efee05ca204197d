//! Which model, and how to run it: the flags every command shares.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use indicatif::{ProgressBar, ProgressStyle};
use model::{Cores, CudaOptions, Dtype, Model, Options, Tuning, family};
use weights::{Checkpoint, Hub, Labels, Progress, Source};

use super::{Faults, units};

/// The flags as text.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelFlags {
    /// The default's name, a checkpoint file, a folder with its config.json,
    /// or a repository of the Hugging Face Hub, org/name or org/name@revision
    #[arg(long, visible_alias = "weights", env = "RESNET_MODEL", default_value = weights::DEFAULT_NAME)]
    model: String,

    /// The classes' names: a JSON array or object, or one a line
    #[arg(long, env = "RESNET_LABELS", value_name = "FILE")]
    labels: Option<PathBuf>,

    /// auto, cpu, cuda, cuda:N or cuda:N,M for several cards; a device that is
    /// named and missing is an error
    #[arg(long, env = "RESNET_DEVICE", default_value = "auto")]
    device: String,

    /// auto, f32, bf16, f16 (on cards) or int8; auto is f16 on cards, int8 for a
    /// quantised checkpoint, else bf16 where the processor multiplies it faster,
    /// else f32
    #[arg(long, env = "RESNET_DTYPE", default_value = "auto")]
    dtype: String,

    /// Forward passes at the same time on each CUDA card
    #[arg(long, env = "RESNET_LANES", default_value = "2")]
    lanes: String,

    /// Where the fastest cuDNN engines, once measured, are kept: a folder, auto
    /// for resnet in the user's cache folder, or off for cuDNN's first guess
    #[arg(
        long,
        env = "RESNET_TUNE",
        value_name = "FOLDER",
        default_value = "auto"
    )]
    tune: String,

    /// Highest instruction set to use: auto, amx, avx512bf16, avx512vnni, avx512,
    /// avxvnni, avx2 or portable
    #[arg(long, env = "RESNET_ISA", default_value = "auto")]
    isa: String,

    /// Threads that decode and compute: auto for as many as the cgroup's quota
    /// and the affinity mask allow
    #[arg(long, env = "RESNET_THREADS", default_value = "auto")]
    threads: String,
}

/// Which model, and how to run it.
#[derive(Clone, Debug, Default)]
pub struct ModelConfig {
    /// The default's name, a file, a folder or a repository; for some commands
    /// an architecture.
    pub model: String,
    /// Names of the classes instead of the checkpoint's own.
    pub labels: Option<PathBuf>,
    /// Device, number type and instruction set.
    pub options: Options,
    /// Threads that decode and compute.
    pub threads: usize,
}

impl ModelFlags {
    /// Those that a command without them takes.
    pub fn of(model: &str, threads: &str) -> Self {
        Self {
            model: model.to_owned(),
            labels: None,
            device: "cpu".into(),
            dtype: "auto".into(),
            lanes: "1".into(),
            tune: "off".into(),
            isa: "auto".into(),
            threads: threads.to_owned(),
        }
    }

    /// Sets what `--model` says.
    pub fn name(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Reads every flag, adding to `faults` what is wrong.
    pub fn check(&self, faults: &mut Faults) -> ModelConfig {
        ModelConfig {
            model: faults.read("--model", &self.model, known),
            labels: self.labels.clone(),
            options: Options {
                device: faults.read("--device", &self.device, str::parse),
                dtype: faults.read("--dtype", &self.dtype, str::parse),
                cuda: CudaOptions {
                    lanes: faults.read("--lanes", &self.lanes, |text| units::count(text, 1..=16)),
                    tuning: tuning(&self.tune),
                    ..CudaOptions::default()
                },
                isa: faults.read("--isa", &self.isa, |text| match text {
                    "auto" => Ok(None),
                    named => named.parse().map(Some),
                }),
            },
            threads: faults.read("--threads", &self.threads, |text| match text {
                "auto" => Ok(threads()),
                number => units::count(number, 1..=1024),
            }),
        }
    }
}

impl ModelConfig {
    /// The network, and the cores it runs on.
    ///
    /// # Errors
    /// A checkpoint that cannot be had, read or run, a device that is missing.
    pub fn load(&self) -> model::Result<(Model, Cores)> {
        self.run(&open(&self.model)?)
    }

    /// As [`ModelConfig::load`]; a bare architecture gets made-up weights.
    ///
    /// # Errors
    /// As there.
    pub fn load_or_synthesize(&self) -> model::Result<(Model, Cores)> {
        match open(&self.model) {
            Err(weights::Error::Unknown { name }) => self.run(&self.synthetic(&name)?),
            opened => self.run(&opened?),
        }
    }

    /// Made-up weights, with ranges where the number type asks for them.
    fn synthetic(&self, name: &str) -> model::Result<Checkpoint> {
        if self.options.dtype == Dtype::Int8 {
            model::synthetic_quantised(name, &Cores::new(self.threads)?)
        } else {
            model::synthetic(name)
        }
    }

    /// The network of an opened checkpoint, and the cores it runs on.
    ///
    /// # Errors
    /// A checkpoint that cannot be run, a device that is missing.
    pub fn run(&self, checkpoint: &Checkpoint) -> model::Result<(Model, Cores)> {
        let cores = Cores::new(self.threads)?;
        let model = Model::load(checkpoint, &self.options, &cores)?;
        let model = match &self.labels {
            Some(file) => model.with_labels(Labels::from_file(file)?)?,
            None => model,
        };
        Ok((model, cores))
    }
}

fn tuning(text: &str) -> Tuning {
    let in_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = || {
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(named.or_else(in_home)?.join("resnet"))
    };
    match text {
        "off" => Tuning::Guess,
        "auto" => Tuning::Measure(cache()),
        folder => Tuning::Measure(Some(folder.into())),
    }
}

/// A name that means something: a model's or, for the commands that make up
/// weights, an architecture's.
fn known(name: &str) -> Result<String, String> {
    if Source::parse(name).is_ok() || family::find(name).is_some() {
        return Ok(name.to_owned());
    }
    Err(format!(
        "no file, no folder, no repository (org/name) and not {}, the model inside; \
         the nearest architectures, which bench and inspect take, are {}",
        weights::DEFAULT_NAME,
        family::nearest(name).join(", ")
    ))
}

/// Opens what `--model` names: the default, a file, a folder or a repository
/// of the Hub. A download draws a bar where standard error is a terminal.
///
/// # Errors
/// When it is none of these, cannot be had or cannot be read.
pub fn open(name: &str) -> weights::Result<Checkpoint> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let opened = Source::parse(name)?.open(&Hub::from_env(), &mut |progress: Progress<'_>| {
        bar.set_message(progress.file.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    opened
}

/// The cores this process may use. On Linux the standard library reads the
/// CPU quota of cgroup v1 and v2, rounded down, and the affinity mask: the
/// smaller of the two, at least one.
fn threads() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}
