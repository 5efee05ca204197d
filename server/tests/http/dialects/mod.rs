//! The APIs of other servers through the real router: golden bodies, and their own
//! errors for requests that are malformed.

mod bounds;
mod huggingface;
mod management;
mod mounting;
mod others;
mod tfserving;
mod torchserve;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::support::client::{Response, get, post};
use crate::support::server::Server;

/// The only model of the tests.
const MODEL: &str = crate::support::server::MODEL;

/// A `POST` with a JSON body.
fn json(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into())
        .unwrap()
}

/// A request with this method.
fn with_method(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(body.into()).unwrap()
}

/// A form with one field.
fn form(path: &str, field: &str, content: &[u8]) -> Request<Body> {
    let head = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"{field}\"; \
         filename=\"a.png\"\r\n\r\n"
    );
    let body = [head.as_bytes(), content, b"\r\n--frontier--\r\n"].concat();
    Request::post(path)
        .header("content-type", "multipart/form-data; boundary=frontier")
        .body(body.into())
        .unwrap()
}

/// Bodies that are no request of any API.
fn malformed() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "\"",
        "5",
        "not an image",
        "{\"instances\": [}",
        "{\"instances\": [[[[NaN, 1, 1]]]]}",
        "{\"instances\": [[[[1e999, 1, 1]]]]}",
        "{\"instances\": [{\"b64\": \"!\"}], \"inputs\": \"!\", \"examples\": [{\"x\": \"!\"}]}",
        "{\"inputs\": \"AAAA\", \"images\": [\"AAAA\"]}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).into();
    bodies.push(b"\xff\xd8\xff\xe0".to_vec());
    bodies.push(vec![0xff; 64]);
    bodies.push("[".repeat(5000).into_bytes());
    bodies
}

/// Sends what is malformed, with each content type; every response must be a
/// client error that `is_error` accepts.
async fn refuses(server: &Server, path: &str, is_error: impl Fn(&Response) -> bool) {
    for content_type in [
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
    ] {
        for body in malformed() {
            let shown = String::from_utf8_lossy(&body).into_owned();
            let mut request = post(path, body);
            if !content_type.is_empty() {
                let value = content_type.parse().unwrap();
                request.headers_mut().insert("content-type", value);
            }
            let response = server.send(request).await;
            let status = response.status.as_u16();
            let found = &response.text;
            assert!(
                (400..500).contains(&status),
                "{path} {content_type} {shown}: {status} {found}"
            );
            assert!(is_error(&response), "{path} {shown}: {found}");
        }
    }
    let health = server.send(get("/health/ready")).await;
    assert_eq!(health.status, 200);
}
