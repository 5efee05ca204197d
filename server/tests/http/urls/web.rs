//! A web of the tests: names with chosen addresses, all of which lead to one local
//! server that records what is asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use resnet_server::fetch::fetcher::{FetchRules, Fetcher};
use resnet_server::fetch::network::Network;
use resnet_server::fetch::rules::{AllowList, PrivateHosts};
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;

use crate::support::client::{Response, grey, post, send_to};
use crate::support::server::Server;

/// The address of names that have no other.
pub(crate) const PUBLIC: &str = "93.184.216.34";

/// What the local server does after the head of a request.
pub(crate) enum Reply {
    /// It sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// It sends these bytes and nothing more.
    Stall(Vec<u8>),
}

/// The response to a path.
type Site = dyn Fn(&str) -> Reply + Send + Sync;

pub(crate) struct Web {
    /// The addresses of each name: those of the first call, of the second, and so on.
    names: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    resolved: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
    /// The heads of the requests.
    heads: Mutex<Vec<String>>,
    /// Lets the replies that stall end.
    released: Semaphore,
    /// Where all addresses lead; nowhere without.
    local: Option<SocketAddr>,
}

impl Web {
    /// A web where nothing listens.
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self::leading_to(None))
    }

    fn leading_to(local: Option<SocketAddr>) -> Self {
        Self {
            names: Mutex::default(),
            resolved: Mutex::default(),
            connected: Mutex::default(),
            heads: Mutex::default(),
            released: Semaphore::new(0),
            local,
        }
    }

    pub(crate) async fn start(site: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Self::serve(None, site).await
    }

    pub(crate) async fn serve(
        tls: Option<TlsAcceptor>,
        site: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let web = Arc::new(Self::leading_to(Some(local)));
        let (accepting, site): (_, Arc<Site>) = (Arc::clone(&web), Arc::new(site));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (web, site, tls) = (Arc::clone(&accepting), Arc::clone(&site), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        None => web.answer(stream, &site).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => web.answer(stream, &site).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        web
    }

    /// The addresses that a name has at each call.
    pub(crate) fn name(&self, name: &str, calls: &[&[&str]]) {
        let parse = |call: &&[&str]| call.iter().map(|a| a.parse().unwrap()).collect();
        let calls = calls.iter().map(parse).collect();
        self.names.lock().unwrap().insert(name.to_owned(), calls);
    }

    /// Ends all replies that stall.
    pub(crate) fn release(&self) {
        self.released.add_permits(1);
    }

    pub(crate) fn connected(&self) -> Vec<String> {
        let connected = self.connected.lock().unwrap();
        connected.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn resolved(&self) -> Vec<String> {
        self.resolved.lock().unwrap().clone()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    async fn answer<S>(&self, mut stream: S, site: &Arc<Site>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        self.heads.lock().unwrap().push(head);
        let (bytes, stalls) = match site(&path) {
            Reply::Bytes(bytes) => (bytes, false),
            Reply::Stall(bytes) => (bytes, true),
        };
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        if stalls {
            // until the other side leaves, or the test says so
            tokio::select! {
                _ = stream.read_u8() => {}
                _ = self.released.acquire() => {}
            }
        }
        stream.shutdown().await
    }
}

/// The network of a [`Web`].
struct Shared(Arc<Web>);

impl Network for Shared {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut resolved = self.0.resolved.lock().unwrap();
        let before = resolved.iter().filter(|other| *other == name).count();
        resolved.push(name.to_owned());
        let names = self.0.names.lock().unwrap();
        let addresses = match names.get(name) {
            Some(calls) => calls[before.min(calls.len() - 1)].clone(),
            None => vec![PUBLIC.parse().unwrap()],
        };
        Box::pin(async move { Ok(addresses) })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        self.0.connected.lock().unwrap().push(address);
        let local = self.0.local;
        Box::pin(async move {
            let local = local.ok_or(io::ErrorKind::ConnectionRefused)?;
            TcpStream::connect(local).await
        })
    }
}

/// A server that fetches from a web.
pub(crate) struct Fetching {
    pub(crate) server: Server,
    router: Router,
}

/// What a server of the tests may fetch.
pub(crate) fn rules(allowed: &str) -> FetchRules {
    FetchRules {
        allowed: AllowList::parse(allowed).unwrap(),
        private: PrivateHosts::default(),
        timeout: Duration::from_secs(15),
    }
}

impl Fetching {
    pub(crate) fn new(server: Server, web: &Arc<Web>, rules: FetchRules) -> Self {
        Self::trusting(server, web, rules, RootCertStore::empty())
    }

    pub(crate) fn trusting(
        server: Server,
        web: &Arc<Web>,
        rules: FetchRules,
        roots: RootCertStore,
    ) -> Self {
        let network = Box::new(Shared(Arc::clone(web)));
        let max_bytes = server.serving.limits().max_body;
        let fetcher = Fetcher::with_network(rules, max_bytes, roots, network).unwrap();
        let router = routes::public(Arc::clone(&server.serving), &Protocols::default());
        let router = router.layer(Extension(Arc::new(fetcher)));
        Self { server, router }
    }

    /// Sends the URL of one image.
    pub(crate) async fn url(&self, url: &str) -> Response {
        self.send(serde_json::json!({ "url": url }).to_string())
            .await
    }

    /// Sends a body of JSON.
    pub(crate) async fn send(&self, body: String) -> Response {
        send_to(self.router.clone(), post("/classify", body)).await
    }
}

/// A response with this head, besides its status line, and this body.
pub(crate) fn http(status: &str, headers: &[&str], body: &[u8]) -> Reply {
    let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for header in headers {
        bytes.extend(format!("{header}\r\n").into_bytes());
    }
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(body);
    Reply::Bytes(bytes)
}

/// A grey image.
pub(crate) fn image(value: u8) -> Reply {
    http("200 OK", &["content-type: image/png"], &grey(value))
}

/// A redirect.
pub(crate) fn redirect(to: &str) -> Reply {
    http("302 Found", &[&format!("location: {to}")], b"")
}
