//! What fetching needs of the operating system: addresses of names, and connections.
//! Tests replace it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Names that are resolved at the same time. The resolver of the operating system
/// blocks a thread until it returns, also after the request has ended.
const RESOLVING: usize = 16;

/// Resolves names and connects to addresses.
pub trait Network: Send + Sync + 'static {
    /// The addresses of a name.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

    /// A connection to this address.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// The resolver and the sockets of the operating system. No proxy is used, whatever
/// the environment says.
pub struct System {
    resolving: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> Self {
        Self {
            resolving: Arc::new(Semaphore::new(RESOLVING)),
        }
    }
}

impl Network for System {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (name, resolving) = (name.to_owned(), Arc::clone(&self.resolving));
        Box::pin(async move {
            let permit = resolving.acquire_owned().await.map_err(io::Error::other)?;
            let resolve = move || {
                let _permit = permit;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            };
            let resolved = tokio::task::spawn_blocking(resolve).await;
            resolved.map_err(io::Error::other)?
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}
