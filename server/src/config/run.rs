//! How models run: the settings that all commands with a model share.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use model::{CudaOptions, Options, Tuning};

use crate::config::settings::Settings;
use crate::config::table::Table;
use crate::config::units;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct RunFlags {
    /// Device: auto, cpu, cuda, cuda:N, or cuda:N,M for several GPUs; a device
    /// that is named but missing is an error [default: auto]
    #[arg(long, env = "RESNET_DEVICE")]
    device: Option<String>,

    /// Data type of weights and activations: auto, f32, bf16, f16 (GPUs only)
    /// or int8; auto is f16 on GPUs, int8 for a quantized checkpoint, bf16
    /// where the CPU multiplies it faster, and f32 otherwise [default: auto]
    #[arg(long, env = "RESNET_DTYPE")]
    dtype: Option<String>,

    /// Backend of the forward pass: fused for fused kernels, candle for the
    /// operations of the candle library [default: fused]
    #[arg(long, env = "RESNET_ENGINE")]
    engine: Option<String>,

    /// Compare the backend with the portable kernels when a model is loaded:
    /// auto (only backends not yet tested on this hardware), on or off
    /// [default: auto]
    #[arg(long, env = "RESNET_SELF_CHECK", value_name = "WHEN")]
    self_check: Option<String>,

    /// Concurrent forward passes on each GPU [default: 2]
    #[arg(long, env = "RESNET_STREAMS", value_name = "N")]
    streams: Option<String>,

    /// Former name of --streams
    #[arg(long, env = "RESNET_LANES", hide = true)]
    lanes: Option<String>,

    /// Where measured cuDNN engine choices are stored: a folder, auto for the
    /// folder resnet in the user's cache folder, or off to skip measuring and
    /// use cuDNN's heuristic [default: auto]
    #[arg(long, env = "RESNET_TUNE", value_name = "FOLDER")]
    tune: Option<String>,

    /// Highest CPU instruction set to use: auto or portable; on x86-64 amx,
    /// avx512bf16, avx512vnni, avx512, avxvnni or avx2; on Arm neonbf16,
    /// neoni8mm, neondot or neon [default: auto]
    #[arg(long, env = "RESNET_ISA")]
    isa: Option<String>,

    /// Threads for decoding and inference; auto for as many as the CPU quota
    /// and the affinity mask allow [default: auto]
    #[arg(long, env = "RESNET_THREADS", value_name = "N")]
    threads: Option<String>,
}

/// How a model runs.
#[derive(Clone, Debug, Default)]
pub struct RunConfig {
    /// Engine, device, data type, instruction set and the use of GPUs.
    pub options: Options,
    /// Threads for decoding and inference.
    pub threads: usize,
}

impl RunFlags {
    /// Reads every setting; invalid ones are added to the errors.
    pub fn read(&self, settings: &mut Settings) -> RunConfig {
        let streams = self.streams.as_deref().or(self.lanes.as_deref());
        RunConfig {
            options: Options {
                engine: settings.read("engine", self.engine.as_deref(), "fused", str::parse),
                self_check: settings.read(
                    "self-check",
                    self.self_check.as_deref(),
                    "auto",
                    str::parse,
                ),
                device: settings.read("device", self.device.as_deref(), "auto", str::parse),
                dtype: settings.read("dtype", self.dtype.as_deref(), "auto", str::parse),
                isa: settings.read("isa", self.isa.as_deref(), "auto", str::parse),
                cuda: CudaOptions {
                    streams: settings
                        .read("streams", streams, "2", |text| units::count(text, 1..=16)),
                    tuning: self.tuning(settings),
                    ..CudaOptions::default()
                },
            },
            threads: settings.read("threads", self.threads.as_deref(), "auto", threads),
        }
    }

    /// The options of one model: those of its table, except where a flag was
    /// given. `common` are the options of the server.
    pub(super) fn of_model(
        &self,
        table: &Table,
        common: &RunConfig,
        settings: &mut Settings,
    ) -> Options {
        let mut run = common.clone();
        let mut given = |name, flag: &Option<String>| match flag {
            Some(_) => None,
            None => table.scalar(name, &mut settings.errors),
        };
        let device = given("device", &self.device);
        let dtype = given("dtype", &self.dtype);
        let isa = given("isa", &self.isa);
        let engine = given("engine", &self.engine);
        if let Some(given) = device {
            run.options.device = settings.parse(&given, str::parse);
        }
        if let Some(given) = dtype {
            run.options.dtype = settings.parse(&given, str::parse);
        }
        if let Some(given) = isa {
            run.options.isa = settings.parse(&given, str::parse);
        }
        if let Some(given) = engine {
            run.options.engine = settings.parse(&given, str::parse);
        }
        run.options
    }

    fn tuning(&self, settings: &Settings) -> Tuning {
        let given = settings.find("tune", self.tune.as_deref());
        match given.as_ref().map_or("auto", |given| given.text.trim()) {
            "off" => Tuning::Guess,
            "auto" => Tuning::Measure(cache_folder()),
            _ => Tuning::Measure(
                settings
                    .path("tune", self.tune.as_deref().map(AsRef::as_ref))
                    .map(|(_, folder)| folder),
            ),
        }
    }
}

/// `resnet` in the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let in_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    Some(named.or_else(in_home)?.join("resnet"))
}

/// The number of threads. On Linux, the standard library's count is the
/// smaller of the cgroup's CPU quota (v1 and v2, rounded down) and the
/// affinity mask, and at least one.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text {
        "auto" => Ok(available_parallelism().map_or(1, NonZeroUsize::get)),
        number => units::count(number, 1..=1024),
    }
}
