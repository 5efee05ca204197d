//! The requests to the Hub.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

/// What is wrong with a response or a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] Box<ureq::Error>),
    /// The response is not one of the Hub.
    #[error("the response {0}")]
    Response(String),
    /// The connection broke or was silent for too long.
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
}

type Result<T> = std::result::Result<T, RequestError>;

/// The commit of a revision, and its files.
#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Info {
    /// The names of the files.
    pub(super) fn files(&self) -> Vec<&str> {
        let names = self.siblings.iter().map(|file| file.rfilename.as_str());
        names.collect()
    }
}

/// A file of the Hub.
pub(super) struct Remote {
    /// The name of its content: the SHA-256 of a large file.
    pub(super) etag: String,
    pub(super) size: u64,
}

/// Sends requests to one address.
pub(super) struct Client {
    endpoint: String,
    token: Option<String>,
    agent: Agent,
    /// Does not follow redirects, whose headers describe the file.
    direct: Agent,
}

impl Client {
    /// Each step of a request may take `timeout`: to connect, the response, each
    /// part of the body.
    pub(super) fn new(endpoint: &str, token: Option<String>, timeout: Duration) -> Self {
        let config = || {
            Agent::config_builder()
                .timeout_connect(Some(timeout))
                .timeout_recv_response(Some(timeout))
                .timeout_per_read(Some(timeout))
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        };
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            agent: config().build().into(),
            direct: config().max_redirects(0).build().into(),
        }
    }

    /// The commit that `revision` of repository `id` points to.
    pub(super) fn info(&self, id: &str, revision: &str) -> Result<Info> {
        let endpoint = &self.endpoint;
        let revision = encoded(revision);
        let url = format!("{endpoint}/api/models/{id}/revision/{revision}");
        let mut response = self.get(&self.agent, &url).call().map_err(Box::new)?;
        let info = response.body_mut().read_json();
        info.map_err(|e| {
            RequestError::Response(format!("is not a description of a repository: {e}"))
        })
    }

    /// The address of a file at a commit.
    pub(super) fn address(&self, id: &str, commit: &str, file: &str) -> String {
        format!("{}/{id}/resolve/{commit}/{}", self.endpoint, encoded(file))
    }

    /// Describes the file at an address.
    pub(super) fn describe(&self, url: &str) -> Result<Remote> {
        let first_byte = |agent: &Agent, url: &str| {
            let request = self.get(agent, url).header("Range", "bytes=0-0");
            request.call().map_err(Box::new)
        };
        let mut url = url.to_owned();
        let mut response = first_byte(&self.direct, &url)?;
        // A renamed repository redirects to another path of the same host.
        while let Some(path) = relative_redirect(response.status(), response.headers()) {
            url = format!("{}{path}", host_of(&url)?);
            response = first_byte(&self.direct, &url)?;
        }
        let headers = response.headers();
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").replace('"', ""));
        let etag = etag.filter(|etag| is_plain(etag));
        let etag = etag.ok_or_else(|| RequestError::Response("has no valid ETag".into()))?;
        let linked = text(headers, "x-linked-size").and_then(|size| size.parse().ok());
        let size = match linked {
            Some(size) => size,
            None if response.status().is_redirection() => {
                size_of(first_byte(&self.agent, &url)?.headers())?
            }
            None => size_of(headers)?,
        };
        Ok(Remote { etag, size })
    }

    /// The bytes of the file at an address, from `start` on.
    pub(super) fn read_from(&self, url: &str, start: u64) -> Result<impl Read + use<>> {
        let request = self.get(&self.agent, url);
        let range = format!("bytes={start}-");
        let response = request.header("Range", range).call().map_err(Box::new)?;
        if start > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            let status = response.status();
            return Err(RequestError::Response(format!(
                "to a request for a part of the file has status {status}"
            )));
        }
        Ok(response.into_body().into_reader())
    }

    fn get(&self, agent: &Agent, url: &str) -> RequestBuilder<WithoutBody> {
        let request = agent.get(url);
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The path that a redirect without a host leads to.
fn relative_redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let location = text(headers, "location").filter(|_| status.is_redirection())?;
    let uri: Uri = location.parse().ok()?;
    uri.host().is_none().then_some(location)
}

/// `https://host:port` of an address.
fn host_of(url: &str) -> Result<String> {
    let uri: Uri = url
        .parse()
        .map_err(|_| RequestError::Response(format!("leads to {url:?}, which is no address")))?;
    let scheme = uri.scheme_str().unwrap_or("https");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Ok(format!("{scheme}://{authority}"))
}

/// The size in `Content-Range: bytes 0-0/SIZE`.
fn size_of(headers: &HeaderMap) -> Result<u64> {
    let range = text(headers, "content-range");
    let size = range.and_then(|range| range.rsplit('/').next()?.parse().ok());
    size.ok_or_else(|| RequestError::Response("does not state the size of the file".into()))
}

/// Whether an ETag can only be the name of a file.
fn is_plain(etag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=128).contains(&etag.len()) && etag.bytes().all(allowed)
}

/// Percent-encodes a part of an address.
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().fold(String::new(), |encoded, byte| {
        if plain(byte) {
            encoded + &char::from(byte).to_string()
        } else {
            encoded + &format!("%{byte:02X}")
        }
    })
}
