//! Requests, responses, and images to send.

use std::io::Cursor;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use resnet_server::core::serving::Serving;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use serde_json::Value;
use tower::ServiceExt;

use super::network::SIDE;

/// Sends a request to the routes of the public listener.
pub(crate) async fn send(serving: &Arc<Serving>, request: Request<Body>) -> Response {
    send_to(
        routes::public(Arc::clone(serving), &Protocols::default()),
        request,
    )
    .await
}

/// Sends a request to the routes of the admin listener.
pub(crate) async fn send_admin(serving: &Arc<Serving>, request: Request<Body>) -> Response {
    send_to(
        routes::admin(Arc::clone(serving), &Protocols::default()),
        request,
    )
    .await
}

/// Sends a request to the routes that these protocols have on the admin listener.
pub(crate) async fn send_admin_of(
    serving: &Arc<Serving>,
    protocols: &Protocols,
    request: Request<Body>,
) -> Response {
    send_to(routes::admin(Arc::clone(serving), protocols), request).await
}

/// Sends a request to the routes that these protocols have on the public listener.
pub(crate) async fn send_of(
    serving: &Arc<Serving>,
    protocols: &Protocols,
    request: Request<Body>,
) -> Response {
    send_to(routes::public(Arc::clone(serving), protocols), request).await
}

/// Sends a request to these routes.
pub(crate) async fn send_to(router: Router, request: Request<Body>) -> Response {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Response {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        bytes,
    }
}

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The most probable class of the only image.
    #[track_caller]
    pub(crate) fn class(&self) -> u64 {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        class(&self.json)
    }

    /// Model, version, and the most probable class of the only image.
    #[track_caller]
    pub(crate) fn result(&self) -> (&str, u64, u64) {
        let class = self.class();
        let model = self.json["model"].as_str().unwrap();
        (model, self.json["version"].as_u64().unwrap(), class)
    }

    /// Checks that this is a complete problem with this status and type.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["type"], format!("/docs#{name}"), "{}", self.text);
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["request_id"], self.header("x-request-id"));
        assert!(!self.json["title"].as_str().unwrap().is_empty());
        assert!(!self.detail().is_empty());
    }

    /// The detail of a problem.
    #[track_caller]
    pub(crate) fn detail(&self) -> &str {
        let detail = self.json["detail"].as_str();
        detail.unwrap_or_else(|| panic!("not a problem: {}", self.text))
    }
}

/// The most probable class of an item.
#[track_caller]
pub(crate) fn class(item: &Value) -> u64 {
    item["predictions"][0]["index"]
        .as_u64()
        .unwrap_or_else(|| panic!("no prediction in {item}"))
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

pub(crate) fn post_as(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/classify")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

/// A flat grey PNG of the size of the network's input.
pub(crate) fn grey(value: u8) -> Vec<u8> {
    flat(value, SIDE, SIDE)
}

/// A flat grey PNG.
pub(crate) fn flat(value: u8, width: u32, height: u32) -> Vec<u8> {
    let pixels = image::RgbImage::from_pixel(width, height, image::Rgb([value; 3]));
    let mut png = Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A form with these files.
pub(crate) fn multipart(files: &[Vec<u8>]) -> Request<Body> {
    let mut body = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let head = format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"image\"; \
             filename=\"{i}.png\"\r\nContent-Type: image/png\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    post_as("multipart/form-data; boundary=frontier", body)
}

/// A body that sends `first` and then stalls forever.
pub(crate) fn stalling(first: Vec<u8>) -> Body {
    use futures_util::{StreamExt, stream};
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(first))]);
    Body::from_stream(first.chain(stream::pending()))
}
