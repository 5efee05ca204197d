//! The settings of `resnet serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Command};

use crate::config::access::{Access, AccessFlags};
use crate::config::answers::AnswerFlags;
use crate::config::cache::CacheFlags;
use crate::config::connections::ConnectionFlags;
use crate::config::errors::ConfigErrors;
use crate::config::file::ConfigFile;
use crate::config::limits::ImageFlags;
use crate::config::logs::{LogConfig, LogFlags};
use crate::config::models::{Common, ModelsFlags};
use crate::config::run::RunFlags;
use crate::config::settings::Settings;
use crate::config::telemetry::{TelemetryConfig, TelemetryFlags};
use crate::config::transport::{ListenOn, Transport, TransportFlags};
use crate::config::units::{self, Address};
use crate::config::vertex::VertexFlags;
use crate::core::limits::{Limits, MAX_IMAGES};
use crate::core::spec::ModelSpec;
use crate::http::listen::Connections;
use crate::http::protocol::Protocols;

/// What `serve` runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may send requests.
    pub access: Access,
    /// The public addresses and their certificate.
    pub transport: Transport,
    /// Where the admin API listens, if it does.
    pub admin: Option<Address>,
    /// The protocols that are spoken.
    pub protocols: Protocols,
    /// The models to serve, with unique names and aliases.
    pub models: Vec<ModelSpec>,
    /// The folder of the model repository.
    pub repository: Option<PathBuf>,
    /// The name of the model that answers requests that name none.
    pub default_model: String,
    /// Bytes that all loaded models may take.
    pub model_memory: Option<usize>,
    /// How often changed files are looked for.
    pub watch: Option<Duration>,
    /// Threads for decoding and inference, shared by all models.
    pub threads: usize,
    /// What requests and images may take.
    pub limits: Limits,
    /// The probability that a category needs if a request does not say it.
    pub min_confidence: f64,
    /// Bytes of the outputs that are kept for equal images.
    pub cache: Option<usize>,
    /// What connections may take.
    pub connections: Connections,
    /// How long requests are accepted after a shutdown has begun.
    pub drain_delay: Option<Duration>,
    /// How long a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// What is logged, and in which format.
    pub log: LogConfig,
    /// Where traces are exported to, if they are.
    pub telemetry: Option<TelemetryConfig>,
}

/// The flags of `serve`, as text: [`ServeFlags::check`] reads them.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeFlags {
    #[command(flatten)]
    models: ModelsFlags,

    #[command(flatten)]
    run: RunFlags,

    /// Maximum memory of all loaded models, or off for no limit; models that are
    /// loaded on demand are unloaded to stay below it, the least recently used
    /// one first [default: off]
    #[arg(
        long,
        env = "RESNET_MODEL_MEMORY",
        value_name = "SIZE",
        help_heading = "Model"
    )]
    model_memory: Option<String>,

    /// Interval of checks for changed model files, or off [default: 2s]
    #[arg(
        long,
        env = "RESNET_WATCH",
        value_name = "TIME",
        help_heading = "Model"
    )]
    watch: Option<String>,

    /// Configuration file (TOML) with these flags as keys and a [[model]] table
    /// for each model; flags and environment variables override it
    #[arg(
        long,
        env = "RESNET_CONFIG",
        value_name = "FILE",
        help_heading = "Server"
    )]
    config: Option<PathBuf>,

    #[command(flatten)]
    transport: TransportFlags,

    #[command(flatten)]
    access: AccessFlags,

    /// Address of the admin API, which loads and unloads models, or off; do not
    /// expose it to clients [default: off]
    #[arg(
        long,
        env = "RESNET_ADMIN",
        value_name = "HOST:PORT",
        help_heading = "Server"
    )]
    admin: Option<String>,

    /// Protocols to speak besides the native API, separated by commas: oip,
    /// torchserve, tensorflow-serving, huggingface, sagemaker, vertex-ai, photoprism,
    /// roboflow, deepstack, grpc; or all, or native for no others [default: all]
    #[arg(
        long,
        env = "RESNET_PROTOCOLS",
        value_name = "NAMES",
        help_heading = "Server"
    )]
    protocols: Option<String>,

    #[command(flatten)]
    vertex: VertexFlags,

    #[command(flatten)]
    answers: AnswerFlags,

    #[command(flatten)]
    connections: ConnectionFlags,

    #[command(flatten)]
    images: ImageFlags,

    #[command(flatten)]
    cache: CacheFlags,

    /// Maximum number of images in flight; requests beyond it are rejected with
    /// status 429 [default: 320]
    #[arg(
        long,
        env = "RESNET_MAX_IN_FLIGHT",
        value_name = "IMAGES",
        help_heading = "Limits"
    )]
    max_in_flight: Option<String>,

    /// Former name of --max-in-flight
    #[arg(long, env = "RESNET_QUEUE", hide = true)]
    queue: Option<String>,

    /// Maximum number of images in a request [default: 32]
    #[arg(
        long,
        env = "RESNET_MAX_IMAGES",
        value_name = "IMAGES",
        help_heading = "Limits"
    )]
    max_images: Option<String>,

    /// Maximum size of a request body [default: 32MiB]
    #[arg(
        long,
        env = "RESNET_MAX_BODY",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    max_body: Option<String>,

    /// Maximum memory of all request bodies together; requests beyond it are
    /// rejected with status 429 [default: 512MiB]
    #[arg(
        long,
        env = "RESNET_BODY_MEMORY",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    body_memory: Option<String>,

    /// Time limit from the arrival of a request body to the response
    /// [default: 30s]
    #[arg(
        long,
        env = "RESNET_REQUEST_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    request_timeout: Option<String>,

    /// Longest pause while a request body arrives [default: 10s]
    #[arg(
        long,
        env = "RESNET_BODY_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    body_timeout: Option<String>,

    /// Longest time without a request on a gRPC stream; it ends then
    /// [default: 10m]
    #[arg(
        long,
        env = "RESNET_STREAM_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    stream_timeout: Option<String>,

    /// Time after SIGTERM in which the server is not ready but accepts requests,
    /// so that load balancers notice; or off [default: 1s]
    #[arg(
        long,
        env = "RESNET_DRAIN_DELAY",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    drain_delay: Option<String>,

    /// Longest time that a shutdown waits for requests in flight [default: 25s]
    #[arg(
        long,
        env = "RESNET_DRAIN_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    drain_timeout: Option<String>,

    #[command(flatten)]
    log: LogFlags,

    #[command(flatten)]
    telemetry: TelemetryFlags,
}

impl ServeFlags {
    /// Reads the flags, the configuration file and the folder of the model
    /// repository. Each call reads file and folder again, so that changes take
    /// effect while the server runs.
    ///
    /// # Errors
    /// All configuration errors.
    pub fn check(&self) -> Result<Config, ConfigErrors> {
        let mut settings = Settings::default();
        if let Some(path) = &self.config {
            let keys = file_keys();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            settings.file = ConfigFile::read(path, &keys, &mut settings.errors);
        }
        let run = self.run.read(&mut settings);
        let limits = self.limits(&mut settings);
        let models = self.models.read(
            &Common {
                flags: &self.run,
                run: &run,
                max_batch: limits.max_batch,
                max_batch_given: self.images.max_batch.is_some(),
            },
            &mut settings,
        );
        let config = Config {
            access: self.access.read(&mut settings),
            transport: self.transport.read(self.vertex.port(), &mut settings),
            admin: settings.read("admin", self.admin.as_deref(), "off", |text| {
                units::or_off(text, units::address)
            }),
            protocols: settings
                .read(
                    "protocols",
                    self.protocols.as_deref(),
                    "all",
                    Protocols::parse,
                )
                .with_vertex_paths(self.vertex.paths()),
            models: models.specs,
            repository: models.repository,
            default_model: models.default,
            model_memory: settings.read(
                "model-memory",
                self.model_memory.as_deref(),
                "off",
                |text| units::or_off(text, units::size),
            ),
            watch: settings.read("watch", self.watch.as_deref(), "2s", |text| {
                units::or_off(text, units::time)
            }),
            threads: run.threads,
            limits,
            min_confidence: self.answers.read(&mut settings),
            cache: self.cache.read(&mut settings),
            connections: self.connections.read(&mut settings),
            drain_delay: settings.read("drain-delay", self.drain_delay.as_deref(), "1s", |text| {
                units::or_off(text, units::time)
            }),
            drain_timeout: settings.read(
                "drain-timeout",
                self.drain_timeout.as_deref(),
                "25s",
                units::time,
            ),
            log: self.log.read(&mut settings),
            telemetry: self.telemetry.read(&mut settings),
        };
        self.check_admin(&config, &mut settings);
        settings.errors.none_or(config)
    }

    fn limits(&self, settings: &mut Settings) -> Limits {
        let images = self.images.read(settings);
        let max_in_flight = self.max_in_flight.as_deref().or(self.queue.as_deref());
        let limits = Limits {
            max_in_flight: settings.read("max-in-flight", max_in_flight, "320", |text| {
                units::count(text, 1..=1_000_000)
            }),
            max_batch: images.max_batch,
            max_images: settings.read("max-images", self.max_images.as_deref(), "32", |text| {
                units::count(text, 1..=MAX_IMAGES)
            }),
            max_body: settings.read("max-body", self.max_body.as_deref(), "32MiB", units::size),
            body_memory: settings.read(
                "body-memory",
                self.body_memory.as_deref(),
                "512MiB",
                units::size,
            ),
            decode: images.decode,
            request_timeout: settings.read(
                "request-timeout",
                self.request_timeout.as_deref(),
                "30s",
                units::time,
            ),
            body_timeout: settings.read(
                "body-timeout",
                self.body_timeout.as_deref(),
                "10s",
                units::time,
            ),
            stream_timeout: settings.read(
                "stream-timeout",
                self.stream_timeout.as_deref(),
                "10m",
                units::time,
            ),
        };
        // 0 stands for a value with an error
        if limits.max_in_flight > 0 && limits.max_images > limits.max_in_flight {
            settings.contradiction(
                "max-images",
                self.max_images.as_deref(),
                "is more than --max-in-flight admits; lower it or raise --max-in-flight",
            );
        }
        if limits.body_memory > 0 && limits.max_body > limits.body_memory {
            settings.contradiction(
                "max-body",
                self.max_body.as_deref(),
                "is more than --body-memory allows; lower it or raise --body-memory",
            );
        }
        limits
    }

    /// The admin API never shares the public port.
    fn check_admin(&self, config: &Config, settings: &mut Settings) {
        let is_public = |admin: &Address| {
            let same = |public: &ListenOn| matches!(public, ListenOn::Tcp(public) if public.port == admin.port);
            admin.port != 0 && config.transport.listen.iter().any(same)
        };
        if config.admin.as_ref().is_some_and(is_public) {
            settings.contradiction(
                "admin",
                self.admin.as_deref(),
                "is the port of the public API; choose another port for the admin API",
            );
        }
    }
}

/// The keys of the configuration file besides `model`: the names of the flags.
fn file_keys() -> Vec<String> {
    let command = ServeFlags::augment_args(Command::new("serve"));
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
    flags
        .filter_map(|flag| flag.get_long().map(str::to_owned))
        .filter(|name| !["config", "model", "help"].contains(&name.as_str()))
        .collect()
}
