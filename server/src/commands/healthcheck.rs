//! `resnet healthcheck`: checks a running server, for containers without curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use crate::commands::output::{self, print_line};

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
}

/// Why the state of the server is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not respond.
    #[error("no response from {host}:{port}: {source}")]
    NoResponse {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The error of the operating system.
        source: io::Error,
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
    // a server that listens on all addresses listens on the loopback too
    let host = match flags.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let status = status(host, flags.port).map_err(|source| Error::NoResponse {
        host: host.to_owned(),
        port: flags.port,
        source,
    })?;
    print_line!("{status}")?;
    let ready = status.split(' ').nth(1) == Some("200");
    Ok(output::exit_status(ready))
}

/// The status line of `GET /health/ready`.
fn status(host: &str, port: u16) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return request(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn request(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    stream.take(4096).read_to_string(&mut response)?;
    Ok(response.lines().next().unwrap_or_default().to_owned())
}
