//! Where the server listens, and the certificate of its public addresses.

use std::path::PathBuf;

use crate::config::settings::Settings;
use crate::config::units::{self, Address};
use crate::http::tls::TlsFiles;

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TransportFlags {
    /// Address to listen on; 0.0.0.0 accepts connections from other machines
    /// [default: 127.0.0.1]
    #[arg(long, env = "RESNET_HOST", help_heading = "Server")]
    host: Option<String>,

    /// Port to listen on; 0 for any free port [default: 8000]
    #[arg(long, env = "RESNET_PORT", help_heading = "Server")]
    port: Option<String>,

    /// Addresses to listen on in place of --host and --port, separated by commas:
    /// HOST:PORT, unix:PATH, or systemd for the sockets of systemd's socket
    /// activation
    #[arg(
        long,
        env = "RESNET_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        help_heading = "Server"
    )]
    listen: Vec<String>,

    /// Certificate of the server in PEM, followed by the intermediate ones: the
    /// addresses of --listen, or of --host and --port, speak TLS 1.2 and 1.3. A
    /// changed file is read again
    #[arg(
        long,
        env = "RESNET_TLS_CERT",
        value_name = "FILE",
        help_heading = "Access"
    )]
    tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert in PEM
    #[arg(
        long,
        env = "RESNET_TLS_KEY",
        value_name = "FILE",
        help_heading = "Access"
    )]
    tls_key: Option<PathBuf>,

    /// Authorities in PEM: clients need a certificate that one of them signed
    #[arg(
        long,
        env = "RESNET_TLS_CLIENT_CA",
        value_name = "FILE",
        help_heading = "Access"
    )]
    tls_client_ca: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOn {
    /// TCP.
    Tcp(Address),
    /// A Unix socket.
    Unix(PathBuf),
    /// The sockets that systemd has opened for the process.
    Systemd,
}

/// The flags, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The public addresses, at least one.
    pub listen: Vec<ListenOn>,
    /// The certificate for those of TCP.
    pub tls: Option<TlsFiles>,
}

impl TransportFlags {
    /// Reads the settings; invalid ones are added to the errors. `port` is used
    /// where `--port` is not given.
    pub(super) fn read(&self, port: Option<&str>, settings: &mut Settings) -> Transport {
        let host = settings.read("host", self.host.as_deref(), "127.0.0.1", host);
        // Kubernetes sets RESNET_PORT to this for a service that is called `resnet`.
        let is_link = |port: &&str| port.starts_with("tcp://");
        let given = self.port.as_deref().filter(|port| !is_link(port));
        let port = settings.read("port", given.or(port), "8000", |text| {
            units::count(text, 0..=65_535)
        });
        let listed = self.listen.join(",");
        let listed = (!self.listen.is_empty()).then_some(listed.as_str());
        let listen = settings.read("listen", listed, "", addresses);
        if !listen.is_empty() && (self.host.is_some() || given.is_some()) {
            let reason = "replaces --host and --port; give one or the other";
            settings.contradiction("listen", listed, reason);
        }
        Transport {
            listen: match listen.is_empty() {
                true => vec![ListenOn::Tcp(Address { host, port })],
                false => listen,
            },
            tls: self.tls(settings),
        }
    }

    fn tls(&self, settings: &mut Settings) -> Option<TlsFiles> {
        let file = |name, flag: &Option<PathBuf>| settings.path(name, flag.as_deref());
        let certificate = file("tls-cert", &self.tls_cert);
        let key = file("tls-key", &self.tls_key);
        let clients = file("tls-client-ca", &self.tls_client_ca);
        let mut refuse = |(origin, path): &(_, PathBuf), reason| {
            let origin = Clone::clone(origin);
            settings
                .errors
                .add(origin, &path.display().to_string(), reason);
        };
        match (certificate, key) {
            (Some((_, certificate)), Some((_, key))) => {
                return Some(TlsFiles {
                    certificate,
                    key,
                    clients: clients.map(|(_, path)| path),
                });
            }
            (Some(certificate), None) => refuse(&certificate, "needs its key: give --tls-key"),
            (None, Some(key)) => refuse(&key, "needs its certificate: give --tls-cert"),
            (None, None) => {
                if let Some(clients) = clients {
                    refuse(&clients, "needs the server's certificate: give --tls-cert");
                }
            }
        }
        None
    }
}

/// A host; IPv6 with or without brackets.
fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Ok(bare.unwrap_or(text).to_owned())
}

/// Addresses, separated by commas. An empty list is one that was not given.
fn addresses(text: &str) -> Result<Vec<ListenOn>, String> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(address).collect()
}

/// `HOST:PORT`, `unix:PATH` or `systemd`.
pub(crate) fn address(text: &str) -> Result<ListenOn, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("unix: needs the path of the socket, as unix:/run/resnet.sock".into()),
        Some(path) => Ok(ListenOn::Unix(path.into())),
        None if text == "systemd" => Ok(ListenOn::Systemd),
        None => units::address(text)
            .map(ListenOn::Tcp)
            .map_err(|reason| format!("{reason}, unix:/PATH or systemd")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_tcp_of_unix_or_of_systemd() {
        let tcp = |host: &str, port| {
            ListenOn::Tcp(Address {
                host: host.into(),
                port,
            })
        };
        assert_eq!(
            addresses("0.0.0.0:80, [::1]:81,unix:/run/a.sock,systemd"),
            Ok(vec![
                tcp("0.0.0.0", 80),
                tcp("::1", 81),
                ListenOn::Unix("/run/a.sock".into()),
                ListenOn::Systemd,
            ])
        );
        assert_eq!(addresses(""), Ok(Vec::new()));
        for wrong in ["80", "::1:80", "unix:", "/run/a.sock", "http://a:80x"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_have_brackets_or_not() {
        assert_eq!(host("[::1]"), Ok("::1".into()));
        assert_eq!(host("::1"), Ok("::1".into()));
        assert_eq!(host("localhost"), Ok("localhost".into()));
    }
}
