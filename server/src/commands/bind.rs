//! The listening sockets of `resnet serve`.

use std::io;
use std::sync::Arc;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use crate::config::transport::{ListenOn, Transport};
use crate::config::units::Address;
use crate::http::listener::Listener;
use crate::http::tls::Tls;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address.
    #[error("cannot listen on {host}:{port}: {source}; choose another address with {flags}")]
    Tcp {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// The operating system's error.
        source: io::Error,
        /// The flags that set the address.
        flags: &'static str,
    },
    /// A Unix socket.
    #[error("cannot listen on unix:{path}: {source}; choose another path with --listen")]
    Unix {
        /// The path of the socket.
        path: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A socket of systemd's cannot be used.
    #[error("cannot use the sockets of systemd: {0}")]
    Systemd(#[from] io::Error),
    /// systemd has passed no socket.
    #[error("systemd has passed no socket; start the service through its .socket unit")]
    NoSocket,
}

/// Listens on the public addresses.
///
/// # Errors
/// See [`BindError`].
pub async fn public(
    transport: &Transport,
    tls: Option<&Arc<Tls>>,
) -> Result<Vec<Listener>, BindError> {
    let secured = |listener| Listener::Tcp {
        listener,
        tls: tls.map(Arc::clone),
    };
    let mut listeners = Vec::new();
    for address in &transport.listen {
        match address {
            ListenOn::Tcp(address) => {
                let listener = tcp(address, "--listen, or --host and --port").await?;
                listeners.push(secured(listener));
            }
            ListenOn::Unix(path) => {
                let listener = Listener::unix(path).map_err(|source| BindError::Unix {
                    path: path.display().to_string(),
                    source,
                })?;
                listeners.push(listener);
            }
            ListenOn::Systemd => listeners.extend(of_systemd(secured)?),
        }
    }
    Ok(listeners)
}

/// Listens on a TCP address that `flags` set.
///
/// # Errors
/// [`BindError::Tcp`].
pub async fn tcp(
    Address { host, port }: &Address,
    flags: &'static str,
) -> Result<TcpListener, BindError> {
    TcpListener::bind((host.as_str(), *port))
        .await
        .map_err(|source| BindError::Tcp {
            host: host.clone(),
            port: *port,
            source,
            flags,
        })
}

/// The sockets that systemd has opened: of TCP and of Unix.
fn of_systemd(secured: impl Fn(TcpListener) -> Listener) -> Result<Vec<Listener>, BindError> {
    let mut sockets = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..sockets.len() {
        if let Ok(Some(listener)) = sockets.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            listeners.push(secured(TcpListener::from_std(listener)?));
        } else if let Some(listener) = sockets.take_unix_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Unix {
                listener: UnixListener::from_std(listener)?,
                file: None,
            });
        }
    }
    match listeners.is_empty() {
        true => Err(BindError::NoSocket),
        false => Ok(listeners),
    }
}
