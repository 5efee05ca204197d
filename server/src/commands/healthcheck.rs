//! `resnet healthcheck`: checks a running server, for containers without curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::commands::output::{self, print_line};
use crate::config::transport::{self, ListenOn};
use crate::config::units::Address;

/// Time limit for the connection, and for the response.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The flags of `healthcheck`, with the variables of the server.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Address that the server listens on
    #[arg(long, env = "RESNET_HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port that the server listens on
    #[arg(long, env = "RESNET_PORT", default_value = "8000")]
    port: u16,

    /// Addresses that the server listens on, the first of which is asked in place of
    /// --host and --port
    #[arg(long, env = "RESNET_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,

    /// Address of the server's admin API, in place of the others: it speaks no TLS
    #[arg(long, env = "RESNET_ADMIN", value_name = "HOST:PORT")]
    admin: Option<String>,
}

/// Why the state of the server is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not respond.
    #[error("no response from {address}: {source}")]
    NoResponse {
        /// Where it should listen.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("the address `{address}` cannot be used: {reason}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Requests `/health/ready` and prints the status line. The exit status is 0 if
/// the server is ready.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    let address = flags.address()?;
    let status = status(&address).map_err(|source| Error::NoResponse {
        address: match &address {
            ListenOn::Tcp(Address { host, port }) => format!("{host}:{port}"),
            ListenOn::Unix(path) => format!("unix:{}", path.display()),
            ListenOn::Systemd => "systemd".into(),
        },
        source,
    })?;
    print_line!("{status}")?;
    let ready = status.split(' ').nth(1) == Some("200");
    Ok(output::exit_status(ready))
}

impl Flags {
    /// The admin listener if there is one, else the first public one.
    fn address(&self) -> Result<ListenOn, Error> {
        let admin = self.admin.as_deref().filter(|admin| *admin != "off");
        let first = |list: &str| list.split(',').next().unwrap_or_default().trim().to_owned();
        let given = admin
            .map(str::to_owned)
            .or(self.listen.as_deref().map(first));
        let Some(given) = given else {
            return Ok(reachable(ListenOn::Tcp(Address {
                host: self.host.clone(),
                port: self.port,
            })));
        };
        let address = transport::address(&given).map_err(|reason| Error::Address {
            address: given,
            reason,
        });
        address.map(reachable)
    }
}

/// The address at which a server can be reached: one that listens on all addresses
/// listens on the loopback too.
fn reachable(address: ListenOn) -> ListenOn {
    let ListenOn::Tcp(Address { host, port }) = address else {
        return address;
    };
    let host = match host.trim_matches(['[', ']']) {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    ListenOn::Tcp(Address {
        host: host.to_owned(),
        port,
    })
}

/// The status line of `GET /health/ready`.
fn status(address: &ListenOn) -> io::Result<String> {
    let Address { host, port } = match address {
        ListenOn::Tcp(address) => address,
        ListenOn::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            return request(stream);
        }
        ListenOn::Systemd => {
            let reason = "the sockets of systemd have no address here; give --admin or --listen";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host.as_str(), *port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return request(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn request(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(4096).read_to_end(&mut response)?;
    if !response.starts_with(b"HTTP/") {
        let reason = "this is not HTTP; if the address has TLS, give --admin, which has none";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let text = String::from_utf8_lossy(&response);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what was given, and ignores what is written.
    struct Stream(&'static [u8]);

    impl Read for Stream {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0.read(to)
        }
    }

    impl Write for Stream {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_listener_with_tls_is_named() {
        let line = request(Stream(b"HTTP/1.0 503 Service Unavailable\r\n\r\n"));
        assert_eq!(line.unwrap(), "HTTP/1.0 503 Service Unavailable");
        let alert = request(Stream(b"\x15\x03\x03\0\x02\x02\x32")).unwrap_err();
        assert!(alert.to_string().contains("TLS"), "{alert}");
    }
}
