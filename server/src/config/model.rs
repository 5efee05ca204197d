//! Which model, and how to run it: the flags every command shares.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use model::{Cores, Model, Options};
use weights::Checkpoint;

use super::{Faults, units};

/// The flags as text.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelFlags {
    /// The model inside this program, or a checkpoint file
    #[arg(long, visible_alias = "weights", env = "RESNET_MODEL", default_value = weights::DEFAULT_NAME)]
    model: String,

    /// auto, cpu, cuda or cuda:N; a device that is named and missing is an error
    #[arg(long, env = "RESNET_DEVICE", default_value = "auto")]
    device: String,

    /// auto or f32
    #[arg(long, env = "RESNET_DTYPE", default_value = "auto")]
    dtype: String,

    /// Highest instruction set to use: auto, avx512, avx2 or portable
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
    /// The default's name or a file; for some commands an architecture.
    pub model: String,
    /// Device, number type and instruction set.
    pub options: Options,
    /// Threads that decode and compute.
    pub threads: usize,
}

impl ModelFlags {
    /// Sets what `--model` says.
    pub fn name(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Reads every flag, adding to `faults` what is wrong.
    pub fn check(&self, faults: &mut Faults) -> ModelConfig {
        ModelConfig {
            model: self.model.clone(),
            options: Options {
                device: faults.read("--device", &self.device, str::parse),
                dtype: faults.read("--dtype", &self.dtype, str::parse),
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
    /// A checkpoint that cannot be read or run, a device that is missing.
    pub fn load(&self) -> model::Result<(Model, Cores)> {
        self.run(self.checkpoint()?)
    }

    /// As [`ModelConfig::load`]; a bare architecture gets made-up weights.
    ///
    /// # Errors
    /// As there.
    pub fn load_or_synthesize(&self) -> model::Result<(Model, Cores)> {
        let known = self.model == weights::DEFAULT_NAME || Path::new(&self.model).exists();
        self.run(if known {
            self.checkpoint()?
        } else {
            model::synthetic(&self.model)?
        })
    }

    fn checkpoint(&self) -> model::Result<Checkpoint> {
        Ok(if self.model == weights::DEFAULT_NAME {
            weights::default_model()?
        } else {
            Checkpoint::open(Path::new(&self.model))?
        })
    }

    fn run(&self, checkpoint: Checkpoint) -> model::Result<(Model, Cores)> {
        let cores = Cores::new(self.threads)?;
        Ok((Model::load(&checkpoint, &self.options, &cores)?, cores))
    }
}

/// The cores this process may use. On Linux the standard library reads the
/// CPU quota of cgroup v1 and v2, rounded down, and the affinity mask: the
/// smaller of the two, at least one.
fn threads() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}
