//! The limits on connections, and their timeouts.

use crate::config::settings::Settings;
use crate::config::units;
use crate::http::listen::Connections;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConnectionFlags {
    /// Maximum number of connections with a request in progress; further
    /// requests wait, and idle connections are closed when a new one needs the
    /// room [default: 1024]
    #[arg(
        long,
        env = "RESNET_MAX_CONNECTIONS",
        value_name = "N",
        help_heading = "Limits"
    )]
    max_connections: Option<String>,

    /// Maximum number of open connections of one client address, or off
    /// [default: off]
    #[arg(
        long,
        env = "RESNET_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        help_heading = "Limits"
    )]
    max_connections_per_address: Option<String>,

    /// Longest wait for request headers, also on a kept-alive connection
    /// [default: 30s]
    #[arg(
        long,
        env = "RESNET_HEADER_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    header_timeout: Option<String>,

    /// Longest time without progress while a client reads a response
    /// [default: 10s]
    #[arg(
        long,
        env = "RESNET_WRITE_TIMEOUT",
        value_name = "TIME",
        help_heading = "Timeouts"
    )]
    write_timeout: Option<String>,
}

impl ConnectionFlags {
    /// Reads the settings; invalid ones are added to the errors.
    pub fn read(&self, settings: &mut Settings) -> Connections {
        Connections {
            most: settings.read(
                "max-connections",
                self.max_connections.as_deref(),
                "1024",
                |text| units::count(text, 1..=1_000_000),
            ),
            per_address: settings.read(
                "max-connections-per-address",
                self.max_connections_per_address.as_deref(),
                "off",
                |text| units::or_off(text, |text| units::count(text, 1..=1_000_000)),
            ),
            write_timeout: settings.read(
                "write-timeout",
                self.write_timeout.as_deref(),
                "10s",
                units::time,
            ),
            header_timeout: settings.read(
                "header-timeout",
                self.header_timeout.as_deref(),
                "30s",
                units::time,
            ),
        }
    }
}
