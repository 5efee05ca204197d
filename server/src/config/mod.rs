//! Everything that can be set: each flag with its environment variable, read
//! and checked before anything starts, all faults told at once.

mod faults;
mod limits;
mod model;
mod units;

use std::time::Duration;

pub use faults::{Fault, Faults};
pub use limits::{LimitFlags, Limits};
pub use model::{ModelConfig, ModelFlags};

use crate::http::listen::Connections;
use crate::logs::{LogConfig, LogFlags};

/// Most images a request may hold, however it is configured.
pub const MOST_IMAGES: usize = 1024;

/// What `serve` runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// What to serve.
    pub model: ModelConfig,
    /// What requests may take.
    pub limits: Limits,
    /// What connections may take.
    pub connections: Connections,
    /// How long a shutdown may take.
    pub drain_timeout: Duration,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// The flags of `serve`, as text: [`ServeFlags::check`] reads them.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeFlags {
    #[command(flatten)]
    model: ModelFlags,

    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(
        long,
        env = "RESNET_HOST",
        default_value = "127.0.0.1",
        help_heading = "Server"
    )]
    host: String,

    /// Port to listen on; 0 takes any free one
    #[arg(
        long,
        env = "RESNET_PORT",
        default_value = "8000",
        help_heading = "Server"
    )]
    port: String,

    #[command(flatten)]
    images: LimitFlags,

    /// Images between admission and answer; more are refused with 429
    #[arg(
        long,
        env = "RESNET_QUEUE",
        value_name = "IMAGES",
        default_value = "256",
        help_heading = "Limits"
    )]
    queue: String,

    /// Most images in one request
    #[arg(
        long,
        env = "RESNET_MAX_IMAGES",
        value_name = "IMAGES",
        default_value = "32",
        help_heading = "Limits"
    )]
    max_images: String,

    /// Largest body of a request
    #[arg(
        long,
        env = "RESNET_MAX_BODY",
        value_name = "SIZE",
        default_value = "32MiB",
        help_heading = "Limits"
    )]
    max_body: String,

    /// Bodies held at once, all requests together; more are refused with 429
    #[arg(
        long,
        env = "RESNET_BODY_MEMORY",
        value_name = "SIZE",
        default_value = "512MiB",
        help_heading = "Limits"
    )]
    body_memory: String,

    /// Most connections at once; further ones wait
    #[arg(
        long,
        env = "RESNET_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "1024",
        help_heading = "Limits"
    )]
    max_connections: String,

    /// Longest time from a body's arrival to its answer
    #[arg(
        long,
        env = "RESNET_REQUEST_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Timeouts"
    )]
    request_timeout: String,

    /// Longest silence inside a request's body
    #[arg(
        long,
        env = "RESNET_BODY_TIMEOUT",
        value_name = "TIME",
        default_value = "10s",
        help_heading = "Timeouts"
    )]
    body_timeout: String,

    /// Longest wait for a request's headers, also on a kept connection
    #[arg(
        long,
        env = "RESNET_HEADER_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Timeouts"
    )]
    header_timeout: String,

    /// Longest time a shutdown waits for requests in flight
    #[arg(
        long,
        env = "RESNET_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "25s",
        help_heading = "Timeouts"
    )]
    drain_timeout: String,

    #[command(flatten)]
    log: LogFlags,
}

impl ServeFlags {
    /// Reads every flag.
    ///
    /// # Errors
    /// All the faults there are, not only the first.
    pub fn check(&self) -> Result<Config, Faults> {
        let mut faults = Faults::default();
        let config = Config {
            host: self.host.clone(),
            port: faults.read("--port", &self.port, |text| units::count(text, 0..=65_535)),
            model: self.model.check(&mut faults),
            limits: self.limits(&mut faults),
            connections: Connections {
                most: faults.read("--max-connections", &self.max_connections, |text| {
                    units::count(text, 1..=1_000_000)
                }),
                header_timeout: faults.read("--header-timeout", &self.header_timeout, units::time),
            },
            drain_timeout: faults.read("--drain-timeout", &self.drain_timeout, units::time),
            log: self.log.check(&mut faults),
        };
        faults.none_or(config)
    }

    fn limits(&self, faults: &mut Faults) -> Limits {
        let limits = Limits {
            queue: faults.read("--queue", &self.queue, |text| {
                units::count(text, 1..=1_000_000)
            }),
            max_images: faults.read("--max-images", &self.max_images, |text| {
                units::count(text, 1..=MOST_IMAGES)
            }),
            max_body: faults.read("--max-body", &self.max_body, units::size),
            body_memory: faults.read("--body-memory", &self.body_memory, units::size),
            request_timeout: faults.read("--request-timeout", &self.request_timeout, units::time),
            body_timeout: faults.read("--body-timeout", &self.body_timeout, units::time),
            ..self.images.check(faults)
        };
        faults.expect(
            limits.max_images <= limits.queue,
            "--max-images",
            &self.max_images,
            "more than --queue ever lets in at once: lower it, or raise --queue",
        );
        faults.expect(
            limits.max_body <= limits.body_memory,
            "--max-body",
            &self.max_body,
            "more than --body-memory ever holds: lower it, or raise --body-memory",
        );
        limits
    }
}
