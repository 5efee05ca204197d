//! A local server that behaves like huggingface.co and can simulate network
//! errors.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest, Sha256};

/// The commit that every revision points to.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The content of the server, and the errors that it simulates.
#[derive(Default)]
pub(crate) struct Site {
    /// Contents of files, by `organisation/name` and file name.
    pub(crate) files: BTreeMap<(String, String), Vec<u8>>,
    /// The token that requests must contain.
    pub(crate) token: Option<&'static str>,
    /// After how many bytes of a large file the connection is closed, and how
    /// often.
    pub(crate) drops: Option<(usize, usize)>,
    /// Whether one bit of large files is changed.
    pub(crate) corrupts: bool,
    /// The commit to return instead of [`COMMIT`].
    pub(crate) commit: Option<&'static str>,
}

impl Site {
    pub(crate) fn publish(mut self, repository: &str, file: &str, content: &[u8]) -> Self {
        self.files
            .insert((repository.into(), file.into()), content.into());
        self
    }
}

/// A running server. Its thread runs until the process exits.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) site: Arc<Mutex<Site>>,
    /// All requests so far.
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Server {
    pub(crate) fn start(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            site: Arc::new(Mutex::new(site)),
            requests: Arc::default(),
        };
        let (site, requests) = (server.site.clone(), server.requests.clone());
        let endpoint = server.endpoint.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                if let Some(request) = read(&connection) {
                    requests.lock().unwrap().push(request.clone());
                    // The client may close the connection early.
                    let _ = respond(
                        &mut connection,
                        &request,
                        &mut site.lock().unwrap(),
                        &endpoint,
                    );
                }
            }
        });
        server
    }

    /// The ranges of the requests whose path begins with `path`.
    pub(crate) fn ranges(&self, path: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|r| r.path.starts_with(path))
            .filter_map(|r| r.range.clone())
            .collect()
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        })
        .collect();
    Some(Request {
        path,
        range: headers.get("range").cloned(),
        authorization: headers.get("authorization").cloned(),
    })
}

fn respond(
    to: &mut TcpStream,
    request: &Request,
    site: &mut Site,
    endpoint: &str,
) -> std::io::Result<()> {
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    let required = site.token.map(|token| format!("Bearer {token}"));
    if parts[0] != "cdn" && required.is_some() && required != request.authorization {
        return status(to, "401 Unauthorized");
    }
    let commit = site.commit.unwrap_or(COMMIT);
    // Another host, from the client's point of view.
    let store = endpoint.replace("127.0.0.1", "localhost");
    match parts[..] {
        ["api", "models", organisation, name, "revision", _] => {
            let repository = format!("{organisation}/{name}");
            let files = site.files.keys().filter(|(of, _)| *of == repository);
            let siblings: Vec<_> = files.map(|(_, file)| json!({"rfilename": file})).collect();
            if siblings.is_empty() {
                return status(to, "404 Not Found");
            }
            let info =
                json!({"id": repository, "sha": commit, "siblings": siblings, "private": false})
                    .to_string();
            send(
                to,
                "200 OK",
                "Content-Type: application/json\r\n",
                info.as_bytes(),
                info.len(),
            )
        }
        [organisation, name, "resolve", _, file] => {
            let Some(content) = site
                .files
                .get(&(format!("{organisation}/{name}"), file.to_owned()))
            else {
                return status(to, "404 Not Found");
            };
            let etag = hex(&Sha256::digest(content));
            if file.ends_with(".json") {
                // The ETag of a small file is its Git hash.
                let headers = format!("ETag: \"{}\"\r\nX-Repo-Commit: {commit}\r\n", &etag[..40]);
                return ranged(to, request, &headers, content, None);
            }
            let headers = format!(
                "X-Repo-Commit: {commit}\r\nX-Linked-ETag: \"{etag}\"\r\nX-Linked-Size: {}\r\n\
                 Location: {store}/cdn/{organisation}/{name}/{file}?signature=abc\r\n",
                content.len()
            );
            send(to, "302 Found", &headers, b"", 0)
        }
        ["cdn", organisation, name, file] => {
            let file = file.split('?').next().unwrap().to_owned();
            let mut content = site.files[&(format!("{organisation}/{name}"), file)].clone();
            if site.corrupts {
                *content.last_mut().unwrap() ^= 1;
            }
            let whole = request.range.as_deref() != Some("bytes=0-0");
            let drop_after = match &mut site.drops {
                Some((after, times)) if whole && *times > 0 => {
                    *times -= 1;
                    Some(*after)
                }
                _ => None,
            };
            ranged(
                to,
                request,
                "ETag: \"of the store\"\r\n",
                &content,
                drop_after,
            )
        }
        _ => status(to, "404 Not Found"),
    }
}

/// Sends the requested range of `content`, or closes the connection after
/// `drop_after` bytes of it.
fn ranged(
    to: &mut TcpStream,
    request: &Request,
    headers: &str,
    content: &[u8],
    drop_after: Option<usize>,
) -> std::io::Result<()> {
    let Some(range) = request
        .range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes="))
    else {
        return send(to, "200 OK", headers, content, content.len());
    };
    let (from, last) = range.split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let to_last = last.parse().unwrap_or(content.len() - 1);
    if from >= content.len() {
        return status(to, "416 Range Not Satisfiable");
    }
    let part = &content[from..=to_last];
    let headers = format!(
        "{headers}Content-Range: bytes {from}-{to_last}/{}\r\n",
        content.len()
    );
    let sent = drop_after.map_or(part.len(), |after| after.min(part.len()));
    send(
        to,
        "206 Partial Content",
        &headers,
        &part[..sent],
        part.len(),
    )
}

fn status(to: &mut TcpStream, status: &str) -> std::io::Result<()> {
    send(to, status, "", b"", 0)
}

fn send(
    to: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
    length: usize,
) -> std::io::Result<()> {
    write!(
        to,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    to.write_all(body)?;
    to.flush()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
