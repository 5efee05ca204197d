//! Everything that can be set: each flag with its environment variable, read
//! and checked before anything starts, all faults told at once.

mod faults;
mod limits;
mod model;
mod units;

use std::time::Duration;

pub use faults::{Fault, Faults};
pub use limits::{LimitFlags, Limits};
pub use model::{ModelConfig, ModelFlags, open};

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeFlags,
    }

    fn check(flags: &[&str]) -> Result<Config, Faults> {
        Command::parse_from([&["resnet"], flags].concat())
            .serve
            .check()
    }

    #[test]
    fn the_defaults_are_sound() {
        let config = check(&[]).unwrap();
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8000));
        assert_eq!(config.limits.max_body, 32 << 20);
        assert_eq!(config.limits.request_timeout, Duration::from_secs(30));
        assert!(config.model.threads >= 1);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let wrong = [
            ("--model", "/no/such/file"),
            ("--device", "tpu"),
            ("--dtype", "f8"),
            ("--isa", "sse"),
            ("--lanes", "0"),
            ("--threads", "0"),
            ("--port", "65536"),
            ("--queue", "none"),
            ("--max-batch", "0"),
            ("--max-images", "-1"),
            ("--max-body", "0"),
            ("--body-memory", "1 potato"),
            ("--max-pixels", "1e6"),
            ("--max-connections", "0"),
            ("--request-timeout", "0s"),
            ("--body-timeout", "soon"),
            ("--header-timeout", ""),
            ("--drain-timeout", "1d"),
            ("--log", "server=loud"),
            ("--log-format", "xml"),
        ];
        let flags: Vec<String> = wrong
            .iter()
            .map(|(flag, value)| format!("{flag}={value}"))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let faults = check(&flags).unwrap_err();
        let mut told: Vec<(&str, &str)> = faults
            .iter()
            .map(|fault| (fault.flag, fault.value.as_str()))
            .collect();
        told.sort_unstable();
        let mut expected = wrong;
        expected.sort_unstable();
        assert_eq!(told, expected);

        let text = faults.to_string();
        assert!(
            text.contains("--max-batch 0: not a whole number from 1 to 1024"),
            "{text}"
        );
        assert!(text.contains("(or set RESNET_MAX_BATCH)"), "{text}");
    }

    #[test]
    fn limits_that_contradict_each_other() {
        let faults = check(&[
            "--queue=4",
            "--max-images=5",
            "--max-body=2M",
            "--body-memory=1M",
        ]);
        let faults = faults.unwrap_err();
        let flags: Vec<&str> = faults.iter().map(|fault| fault.flag).collect();
        assert_eq!(flags, ["--max-images", "--max-body"]);
    }

    /// The variable that a fault names is the one that the flag reads.
    #[test]
    fn every_flag_has_its_variable() {
        use clap::CommandFactory;
        let command = Command::command();
        for flag in command
            .get_arguments()
            .filter(|flag| flag.get_id() != "help")
        {
            let name = flag.get_long().unwrap();
            let expected = format!("RESNET_{}", name.replace('-', "_").to_uppercase());
            let variable = flag
                .get_env()
                .unwrap_or_else(|| panic!("--{name} has no variable"));
            assert_eq!(variable.to_str(), Some(expected.as_str()));
            assert!(flag.get_help().is_some(), "--{name} has no help");
        }
    }
}
