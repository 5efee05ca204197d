//! Which URLs a client may name: the list of the operator, and the check of a URL
//! against it. Nothing here touches the network.

use url::{Host, Url};

/// Bytes of the longest URL.
const LONGEST_URL: usize = 4096;

/// The URLs that an operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Rule>);

/// Hosts that may have private addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateHosts(Vec<Host<String>>);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    scheme: String,
    hosts: Hosts,
    port: u16,
    /// Begins and ends with a slash.
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Any,
    /// Those that end with a dot and this name.
    Below(String),
    Only(Host<String>),
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is too long.
    #[error("the URL is longer than {LONGEST_URL} bytes; use a shorter one, or send the image")]
    TooLong,
    /// It cannot be parsed.
    #[error("the URL cannot be parsed; use one such as https://example.com/cat.jpg")]
    Invalid,
    /// It is no URL of HTTP.
    #[error("the URL is not one of https or http; use one such as https://example.com/cat.jpg")]
    Scheme,
    /// It has a user name or a password.
    #[error("the URL has a user name or a password; remove them, or send the image")]
    UserInfo,
    /// No entry of the list allows it.
    #[error(
        "the operator of this server does not allow this URL (--image-urls); send the image, or \
         use a host, a port and a path that are allowed"
    )]
    NotListed,
}

impl AllowList {
    /// Reads entries that are separated by commas: `example.com`, `*.example.com`,
    /// `https://example.com/photos/`, `http://example.com:8080`, or `*` for all hosts.
    ///
    /// # Errors
    /// The first entry that is none of these, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim);
        let rules = entries.map(|entry| {
            Rule::parse(entry).map_err(|reason| format!("has the entry `{entry}`, {reason}"))
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// The URL that a client has sent, if it is allowed.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn parse_url(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > LONGEST_URL {
            return Err(Refusal::TooLong);
        }
        let url = Url::parse(text).map_err(|_| Refusal::Invalid)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Whether this URL is allowed.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn check(&self, url: &Url) -> Result<(), Refusal> {
        if url.as_str().len() > LONGEST_URL {
            return Err(Refusal::TooLong);
        }
        if !["https", "http"].contains(&url.scheme()) {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        match self.0.iter().any(|rule| rule.matches(url)) {
            true => Ok(()),
            false => Err(Refusal::NotListed),
        }
    }
}

impl PrivateHosts {
    /// Reads names of hosts and addresses that are separated by commas.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let host = |name: &str| {
            let name = name.trim();
            let host = Host::parse(name).ok().filter(|_| !name.contains('*'));
            host.ok_or_else(|| format!("has the entry `{name}`, which is not the name of one host"))
        };
        text.split(',')
            .map(host)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the host of a URL may have a private address.
    #[must_use]
    pub fn contain(&self, host: &Host<&str>) -> bool {
        self.0.iter().any(|private| same(private, host))
    }
}

fn same(a: &Host<String>, b: &Host<&str>) -> bool {
    match (a, b) {
        (Host::Domain(a), Host::Domain(b)) => a == b,
        (Host::Ipv4(a), Host::Ipv4(b)) => a == b,
        (Host::Ipv6(a), Host::Ipv6(b)) => a == b,
        _ => false,
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        const FORM: &str =
            "which is not a host, *.DOMAIN, *, or a URL such as https://example.com/photos/";
        let (scheme, rest) = entry.split_once("://").unwrap_or(("https", entry));
        if !["https", "http"].contains(&scheme) {
            return Err("whose scheme is not https or http");
        }
        let is_host = scheme.len() + 3 + rest.len() > entry.len();
        if is_host && rest.contains('/') {
            return Err("which is a path without https:// in front");
        }
        let all = rest.strip_prefix('*');
        let all = all.filter(|rest| rest.is_empty() || rest.starts_with([':', '/']));
        let below = rest.strip_prefix("*.");
        let text = match (all, below) {
            // a name in the place of the star, so that the rest can be parsed
            (Some(rest), _) => format!("{scheme}://all.invalid{rest}"),
            (_, Some(rest)) => format!("{scheme}://{rest}"),
            (None, None) => format!("{scheme}://{rest}"),
        };
        let url = Url::parse(&text).map_err(|_| FORM)?;
        let host = url.host().ok_or(FORM)?.to_owned();
        let hosts = match (all, below, host) {
            (Some(_), ..) => Hosts::Any,
            (_, Some(_), Host::Domain(name)) => Hosts::Below(name),
            (_, Some(_), _) => return Err("which has a star before an address"),
            (_, _, host) => Hosts::Only(host),
        };
        if url.as_str().contains(['*', '@', '?', '#']) {
            return Err(FORM);
        }
        if !url.path().ends_with('/') {
            return Err("whose path does not end with a slash");
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            hosts,
            port: url.port_or_known_default().ok_or(FORM)?,
            prefix: url.path().to_owned(),
        })
    }

    fn matches(&self, url: &Url) -> bool {
        let host = url.host();
        let host_matches = host.is_some_and(|host| match (&self.hosts, &host) {
            (Hosts::Any, _) => true,
            (Hosts::Only(only), host) => same(only, host),
            (Hosts::Below(name), Host::Domain(domain)) => domain
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Hosts::Below(_), _) => false,
        });
        host_matches
            && self.scheme == url.scheme()
            && Some(self.port) == url.port_or_known_default()
            && url.path().starts_with(&self.prefix)
            && (self.prefix == "/" || !may_leave_its_folder(url.path()))
    }
}

/// Whether a server could read the path as one of another folder. The parser of the
/// URL has resolved `..`, `%2e%2e` and backslashes, but a server may decode the path
/// twice.
fn may_leave_its_folder(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "%25"];
    encoded.iter().any(|code| path.contains(code))
        || path.split('/').any(|segment| segment.starts_with(".."))
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
