//! Requests that break the rules of HTTP/1.1, and the library's own errors: all
//! have a body, an id and a count.

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::client::grey;
use crate::support::listening::{HEALTH, Listening, connections, listen, read_to_end};
use crate::support::server::server;

/// The problem that a request gets.
async fn problem(listening: &Listening, request: &[u8]) -> (u16, Value) {
    let mut stream = listening.connect().await;
    // The server may respond before all of it is sent.
    let _ = stream.write_all(request).await;
    let response = read_to_end(&mut stream).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let id = json["request_id"].as_str().unwrap_or("none");
    assert!(
        head.contains(&format!("\r\nx-request-id: {id}")),
        "{response}"
    );
    assert!(head.contains("\r\ncontent-type: application/problem+json"));
    let length = format!("\r\ncontent-length: {}", body.len());
    assert!(head.contains(&length), "{response}");
    (status.unwrap(), json)
}

#[tokio::test]
async fn heads_that_break_the_rules_get_a_problem() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(1_000_000)
    );
    let many: String = (0..100).map(|i| format!("x-{i}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(65_530));
    for (request, status, name) in [
        (
            "GET /health/live HTTP/1.1\r\n\r\n",
            400,
            "malformed-request",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            400,
            "malformed-request",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a b@c/d\r\n\r\n",
            400,
            "malformed-request",
        ),
        ("GET / HTTP/1.1\nhost: a\n\n", 400, "malformed-request"),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", 400, "malformed-request"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
            400,
            "malformed-request",
        ),
        (
            "G\u{e9}T / HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
            "malformed-request",
        ),
        (
            "POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed-request",
        ),
        (&large, 431, "head-too-large"),
        (&many, 431, "head-too-large"),
        (&long, 414, "uri-too-long"),
    ] {
        // Those that reach the routes keep their connection.
        let request =
            request.replacen("host: a\r\nhost", "connection: close\r\nhost: a\r\nhost", 1);
        let request = request.replacen("1.1\r\n\r\n", "1.1\r\nconnection: close\r\n\r\n", 1);
        let request = request.replacen("host: a b", "connection: close\r\nhost: a b", 1);
        let request = request.replacen("transfer", "connection: close\r\ntransfer", 1);
        let (found, json) = problem(&listening, request.as_bytes()).await;
        let shown: String = request.chars().take(80).collect();
        assert_eq!(found, status, "{shown}: {json}");
        assert_eq!(json["type"], format!("/docs#{name}"), "{shown}");
    }
    let counted = r#"resnet_requests_total{route="other",status="431",protocol="native"}"#;
    server.wait_for_metric(counted, 2.0).await;
    let counted = r#"resnet_requests_total{route="other",status="414",protocol="native"}"#;
    server.wait_for_metric(counted, 1.0).await;
    assert!(
        listening
            .exchange(HEALTH, b"")
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
}

#[tokio::test]
async fn heads_are_checked_on_later_requests_and_line_feeds_in_bodies_are_not() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let image = grey(7);
    let body = b"a\nb\n\n\nc".to_vec();
    let posted = |body: &[u8], more: &str| {
        let length = body.len();
        let head =
            format!("POST /classify HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let statuses = async |all: &[Vec<u8>]| {
        let mut stream = listening.send(&all.concat()).await;
        let response = read_to_end(&mut stream).await;
        let statuses = response.match_indices("HTTP/1.1 ");
        let status = |(at, _): (usize, &str)| response[at + 9..at + 12].to_owned();
        statuses.map(status).collect::<Vec<_>>()
    };
    let bare = b"GET / HTTP/1.1\nhost: a\n\n".to_vec();
    let all = [posted(&body, ""), posted(&image, ""), bare];
    assert_eq!(statuses(&all).await, ["415", "200", "400"]);
    let chunked = b"POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\n\n\n\r\n0\r\n\r\n";
    let all = [chunked.to_vec(), posted(&image, "connection: close\r\n")];
    assert_eq!(statuses(&all).await, ["415", "200"]);
}
