//! Fetches the image of a URL: checks the URL, resolves its host once, checks each
//! address, connects to a checked address, and follows redirects in the same way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::{Host, Url};

use super::address::{Reach, reach};
use super::error::FetchError;
use super::http1::{self, Response};
use super::network::{Network, System};
use super::rules::{AllowList, PrivateHosts};
use crate::core::admission::ByteShare;

/// Images that are fetched at the same time, for all requests; others wait.
const FETCHES: usize = 32;

/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// Addresses of a host that are tried, and how long each may take.
const ADDRESSES: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What may be fetched, and what it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRules {
    /// The URLs that are allowed.
    pub allowed: AllowList,
    /// The hosts that may have private addresses.
    pub private: PrivateHosts,
    /// The longest time for an image, with its redirects.
    pub timeout: Duration,
}

/// Fetches images by URL.
pub struct Fetcher {
    rules: FetchRules,
    /// Bytes of an image.
    max_bytes: usize,
    network: Box<dyn Network>,
    tls: TlsConnector,
    permits: Semaphore,
}

impl Fetcher {
    /// A fetcher of images of at most `max_bytes`. Certificates must be signed by an
    /// authority of Mozilla's list, as those of the Hub.
    ///
    /// # Errors
    /// A list of authorities that TLS cannot use.
    pub fn new(rules: FetchRules, max_bytes: usize) -> Result<Self, rustls::Error> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::with_network(rules, max_bytes, roots, Box::new(System::default()))
    }

    /// The same with other authorities on another network.
    ///
    /// # Errors
    /// As [`Fetcher::new`].
    pub fn with_network(
        rules: FetchRules,
        max_bytes: usize,
        roots: RootCertStore,
        network: Box<dyn Network>,
    ) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            rules,
            max_bytes,
            network,
            tls: Arc::new(config).into(),
            permits: Semaphore::new(FETCHES),
        })
    }

    /// The bytes of the image, which are counted in `share`.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, url: &str, share: &mut ByteShare) -> Result<Bytes, FetchError> {
        let url = self.rules.allowed.parse_url(url)?;
        // The semaphore is never closed. The deadline of the request limits the wait.
        let _permit = self.permits.acquire().await;
        let limit = self.rules.timeout;
        let fetched = timeout(limit, self.follow(url, share)).await;
        fetched.unwrap_or(Err(FetchError::Timeout(limit)))
    }

    async fn follow(&self, mut url: Url, share: &mut ByteShare) -> Result<Bytes, FetchError> {
        for _ in 0..=REDIRECTS {
            let response = self.get(&url).await.map_err(|error| {
                tracing::debug!(%error, "an image cannot be fetched");
                FetchError::Unreachable
            })?;
            match redirect(&response) {
                None => return self.image(response, share).await,
                Some(to) => {
                    let to = url.join(to).map_err(|_| FetchError::RedirectRefused)?;
                    let allowed = self.rules.allowed.check(&to);
                    allowed.map_err(|_| FetchError::RedirectRefused)?;
                    url = to;
                }
            }
        }
        Err(FetchError::Redirects(REDIRECTS))
    }

    async fn image(&self, response: Response, share: &mut ByteShare) -> Result<Bytes, FetchError> {
        if response.status != StatusCode::OK {
            return Err(FetchError::Status(response.status.as_u16()));
        }
        check(&response.headers)?;
        response.read(self.max_bytes, share).await
    }

    /// The response to a URL that is allowed.
    async fn get(&self, url: &Url) -> io::Result<Response> {
        let (host, port) = url.host().zip(url.port_or_known_default()).ok_or(NO_HOST)?;
        let stream = self.connect(&host, port).await?;
        if url.scheme() == "http" {
            return http1::get(stream, url).await;
        }
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned()),
            Host::Ipv4(address) => Ok(IpAddr::from(address).into()),
            Host::Ipv6(address) => Ok(IpAddr::from(address).into()),
        };
        let name = name.map_err(io::Error::other)?;
        http1::get(self.tls.connect(name, stream).await?, url).await
    }

    /// A connection to one of the addresses of a host. The name is resolved only here,
    /// so the address that is connected to is one that was checked.
    async fn connect(&self, host: &Host<&str>, port: u16) -> io::Result<TcpStream> {
        let addresses = match *host {
            Host::Domain(name) => self.network.resolve(name).await?,
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
        };
        let may_be_private = self.rules.private.contain(host);
        let checked = addresses
            .into_iter()
            .filter(|address| match reach(*address) {
                Reach::Public => true,
                Reach::Private => may_be_private,
                Reach::Never => false,
            });
        let mut failure = NO_ADDRESS.into();
        for address in checked.take(ADDRESSES) {
            let connect = self.network.connect(SocketAddr::new(address, port));
            match timeout(CONNECT_TIMEOUT, connect).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }
}

const NO_HOST: io::ErrorKind = io::ErrorKind::InvalidInput;
const NO_ADDRESS: io::ErrorKind = io::ErrorKind::AddrNotAvailable;

/// Where a response redirects to.
fn redirect(response: &Response) -> Option<&str> {
    let redirects = [301, 302, 303, 307, 308].contains(&response.status.as_u16());
    let location = response.headers.get(header::LOCATION);
    location
        .filter(|_| redirects)
        .map(|location| location.to_str().unwrap_or_default())
}

/// Checks that the headers of a response are those of an image. File servers often use
/// the type `octet-stream`.
fn check(headers: &HeaderMap) -> Result<(), FetchError> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").trim());
    let coding = text(header::CONTENT_ENCODING).unwrap_or("identity");
    if !coding.eq_ignore_ascii_case("identity") {
        return Err(FetchError::ContentEncoding);
    }
    let Some(content_type) = text(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let is_image = essence.starts_with("image/")
        || ["application/octet-stream", "binary/octet-stream"].contains(&essence.as_str());
    match is_image {
        true => Ok(()),
        false => Err(FetchError::ContentType),
    }
}
