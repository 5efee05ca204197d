//! A listening socket: TCP, with or without TLS, or a Unix socket.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::stream::Stream;
use super::tls::Tls;

/// Bytes of a response that the operating system takes before the client has read them.
/// It would take megabytes for each connection, which no limit of ours counts.
const SEND_BUFFER: usize = 128 << 10;

/// Accepts connections.
pub enum Listener {
    /// TCP.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// Encrypts the connections.
        tls: Option<Arc<Tls>>,
    },
    /// A Unix socket.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Removed at the end, where this process made it.
        file: Option<SocketFile>,
    },
}

/// The file of a Unix socket, which is removed when this is dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A client that has connected, before the handshake of TLS.
pub(super) struct Accepted {
    pub(super) stream: Unsecured,
    /// Its address; `None` for a Unix socket.
    pub(super) address: Option<IpAddr>,
}

/// A stream on which a handshake may have to follow.
pub(super) enum Unsecured {
    Plain(Stream),
    Tls(TcpStream, Arc<Tls>),
}

impl Unsecured {
    /// The stream, after the handshake.
    ///
    /// # Errors
    /// Those of the connection and of the handshake.
    pub(super) async fn secured(self) -> io::Result<Stream> {
        match self {
            Self::Plain(stream) => Ok(stream),
            Self::Tls(stream, tls) => Ok(Stream::Tls(Box::new(tls.accept(stream).await?))),
        }
    }

    /// The stream, where there is no handshake.
    pub(super) fn plain(self) -> Option<Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(..) => None,
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp {
            listener,
            tls: None,
        }
    }
}

impl Listener {
    /// Listens on a Unix socket. A socket that is left from a process that has ended
    /// is replaced.
    ///
    /// # Errors
    /// Those of the operating system; a server that listens on it already.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                let reason = "another process listens on it";
                return Err(io::Error::new(ErrorKind::AddrInUse, reason));
            }
            std::fs::remove_file(path)?;
        }
        Ok(Self::Unix {
            listener: UnixListener::bind(path)?,
            file: Some(SocketFile(path.to_owned())),
        })
    }

    /// What it listens on: `127.0.0.1:8000` or `unix:/run/resnet.sock`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp { listener, .. } => listener.local_addr()?.to_string(),
            Self::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new(""));
                format!("unix:{}", path.display())
            }
        })
    }

    /// Whether its connections are encrypted.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: Some(_), .. })
    }

    /// A command that sends an image to it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn example(&self) -> io::Result<String> {
        const CURL: &str = "curl --data-binary @cat.jpg";
        let address = self.address()?;
        let port = address.rsplit(':').next().unwrap_or_default();
        Ok(match address.strip_prefix("unix:") {
            Some(path) => format!("{CURL} --unix-socket {path} http://localhost/classify"),
            None if self.has_tls() => format!("{CURL} https://localhost:{port}/classify"),
            None => format!("{CURL} localhost:{port}/classify"),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp { listener, tls } => {
                let (stream, peer) = listener.accept().await?;
                // Responses are small and must not wait for an ACK.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
                Ok(Accepted {
                    stream: match tls {
                        Some(tls) => Unsecured::Tls(stream, Arc::clone(tls)),
                        None => Unsecured::Plain(Stream::Tcp(stream)),
                    },
                    address: Some(peer.ip()),
                })
            }
            Self::Unix { listener, .. } => {
                let (stream, _): (UnixStream, _) = listener.accept().await?;
                let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
                Ok(Accepted {
                    stream: Unsecured::Plain(Stream::Unix(stream)),
                    address: None,
                })
            }
        }
    }
}
