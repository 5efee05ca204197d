//! Rules for request heads that the HTTP library does not check: line ends, the
//! `Host` header and transfer codings (RFC 9112), and the number of headers in
//! HTTP/2.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};

use super::problem::{Problem, ProblemType};

/// Largest number of headers.
pub(super) const MAX_HEADERS: usize = 64;

/// Finds the end of a request head, byte by byte.
#[derive(Default)]
pub(super) struct LineScan {
    /// Bytes of the current line.
    length: usize,
    /// The last byte was a carriage return.
    after_return: bool,
    /// A line with text has ended: the next empty line ends the head.
    started: bool,
}

/// What a scan found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// All bytes belong to the head.
    Inside,
    /// The head ends after this many bytes.
    End(usize),
    /// A line ends without a carriage return.
    BareLineFeed,
}

impl LineScan {
    /// Whether the first line of a head has begun and not ended.
    pub(super) fn is_in_request_line(&self) -> bool {
        !self.started && self.length > 0
    }

    /// Scans the next bytes. After the end of a head, the next one begins.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if !self.after_return => return Scanned::BareLineFeed,
                b'\n' => {
                    // Without the carriage return.
                    let is_empty = self.length == 1;
                    if is_empty && self.started {
                        *self = Self::default();
                        return Scanned::End(at + 1);
                    }
                    self.started |= !is_empty;
                    self.length = 0;
                    self.after_return = false;
                }
                _ => {
                    self.length += 1;
                    self.after_return = byte == b'\r';
                }
            }
        }
        Scanned::Inside
    }
}

/// Checks the head of a request.
///
/// # Errors
/// 400 for a missing, repeated or invalid `Host`, and for a transfer coding
/// other than `chunked`.
pub(super) fn check(head: &Parts) -> Result<(), Problem> {
    check_host(head)?;
    check_transfer_coding(&head.headers)
}

/// Checks the head of an HTTP/2 request, where `:authority` takes the place of
/// `Host`.
///
/// # Errors
/// 400 for a repeated or invalid `Host`, 431 for too many headers.
pub(super) fn check_http2(head: &Parts) -> Result<(), Problem> {
    if head.headers.len() > MAX_HEADERS {
        return Err(head_too_large());
    }
    match head.headers.contains_key(header::HOST) {
        true => check_host(head),
        false => Ok(()),
    }
}

/// The problem of a head that is above the limits.
pub(super) fn head_too_large() -> Problem {
    let detail = "the request has too many headers or too large ones; send less than 64 headers \
                  of 64 KiB in all";
    Problem::new(ProblemType::HeadTooLarge, detail)
}

fn check_host(head: &Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(bad_head("the Host header is not a host name")),
        (Some(_), Some(_)) => Err(bad_head("the request has more than one Host header")),
        (None, _) if head.version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(bad_head("the request has no Host header")),
    }
}

/// Whether this is `host` or `host:port`; empty where the target names none.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_chunked(coding.as_bytes()) => Ok(()),
        _ => Err(bad_head(
            "the only transfer encoding that is supported is chunked",
        )),
    }
}

/// A problem of the head.
pub(super) fn bad_head(reason: &str) -> Problem {
    let detail = format!("{reason}; send a request that follows RFC 9112");
    Problem::new(ProblemType::MalformedRequest, detail)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_across_reads() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nGET /next";
        let end = head.len() - 9;
        assert_eq!(LineScan::default().scan(head), Scanned::End(end));
        let mut scan = LineScan::default();
        for (at, byte) in head[..end - 1].iter().enumerate() {
            assert_eq!(scan.scan(&[*byte]), Scanned::Inside, "byte {at}");
        }
        assert_eq!(scan.scan(b"\nGET /"), Scanned::End(1));
        assert_eq!(scan.scan(b"G\r\n\r\n"), Scanned::End(5), "the next head");
    }

    #[test]
    fn a_line_feed_alone_is_found_anywhere() {
        for head in [
            "GET / HTTP/1.1\nhost: a\n\n",
            "GET / HTTP/1.1\r\nhost: a\n\r\n",
            "\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
        ] {
            let scanned = LineScan::default().scan(head.as_bytes());
            assert_eq!(scanned, Scanned::BareLineFeed, "{head:?}");
        }
    }

    #[test]
    fn one_valid_host_and_one_transfer_coding() {
        let accepted = |headers: &[(&str, &str)], version| {
            let mut request = Request::post("/").version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            check(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        for host in ["a", "a.example:8000", "[::1]:80", "127.0.0.1", ""] {
            assert!(accepted(&[("host", host)], Version::HTTP_11), "{host}");
        }
        for host in ["a b", "a/d", "user@a", "a:b:c", "a b@c/d"] {
            assert!(!accepted(&[("host", host)], Version::HTTP_11), "{host}");
        }
        assert!(!accepted(&[], Version::HTTP_11));
        assert!(accepted(&[], Version::HTTP_10));
        let twice = [("host", "a"), ("host", "a")];
        assert!(!accepted(&twice, Version::HTTP_10));
        for (coding, valid) in [
            ("chunked", true),
            ("Chunked", true),
            ("gzip, chunked", false),
        ] {
            let headers = [("host", "a"), ("transfer-encoding", coding)];
            assert_eq!(accepted(&headers, Version::HTTP_11), valid, "{coding}");
        }
    }
}
