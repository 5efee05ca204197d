//! `resnet healthcheck`: for containers that have no curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::out::say;

/// Longest wait for a connection, and for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The flags of `healthcheck`: those of the server it asks.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Address the server listens on
    #[arg(long, env = "RESNET_HOST", default_value = "127.0.0.1")]
    host: String,

    /// Port the server listens on
    #[arg(long, env = "RESNET_PORT", default_value = "8000")]
    port: u16,
}

/// Why a server is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error("no answer from {host}:{port}: {source}")]
    Silence {
        /// Who was asked.
        host: String,
        /// At this port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The answer cannot be told.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Asks `/health/ready`. Success is exit status 0.
///
/// # Errors
/// See [`Error`].
pub fn run(flags: &Flags) -> Result<ExitCode, Error> {
    // A server that listens everywhere listens on the loopback too.
    let host = match flags.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let status = status(host, flags.port).map_err(|source| Error::Silence {
        host: host.to_owned(),
        port: flags.port,
        source,
    })?;
    say!("{status}")?;
    let ready = status.split(' ').nth(1) == Some("200");
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The status line of `GET /health/ready`.
fn status(host: &str, port: u16) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return ask(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
