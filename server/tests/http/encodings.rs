//! `Content-Encoding` of request bodies.

use std::io::{Read, Write};

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::json;

use crate::support::client::{base64, class, grey, post};
use crate::support::server::{Server, limits, server_with};

fn all(mut source: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    all(GzEncoder::new(bytes, Compression::fast()))
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// One stored block of brotli, which any brotli decoder reads: a window of 16
/// bits, the length less one in 16 bits, and an empty last block.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - 1).unwrap();
    assert!(length < 1 << 16);
    // window 0; last 0; nibbles 00; length; uncompressed 1
    let head = length << 4 | 1 << 20;
    let mut body = head.to_le_bytes()[..3].to_vec();
    body.extend_from_slice(bytes);
    body.write_all(&[0b11]).unwrap();
    body
}

fn encoded(coding: &str, body: Vec<u8>) -> Request<Body> {
    let mut request = post("/classify", body);
    let coding = coding.parse().unwrap();
    request.headers_mut().insert("content-encoding", coding);
    request
}

/// A server with memory for the windows of the decoders.
async fn server() -> Server {
    let mut limits = limits();
    limits.body_memory = 64 << 20;
    server_with(limits, |_| Ok(())).await
}

#[tokio::test]
async fn bodies_of_every_coding_are_decoded() {
    let server = server().await;
    let image = grey(42);
    for (coding, body) in [
        ("gzip", gzip(&image)),
        ("x-GZip", [gzip(&image[..50]), gzip(&image[50..])].concat()),
        (
            "deflate",
            all(ZlibEncoder::new(&*image, Compression::best())),
        ),
        (
            "deflate",
            all(DeflateEncoder::new(&*image, Compression::best())),
        ),
        ("br", brotli(&image)),
        ("zstd", zstd(&image)),
        ("zstd", [zstd(&image[..50]), zstd(&image[50..])].concat()),
        ("gzip, br", brotli(&gzip(&image))),
        ("identity", image.clone()),
    ] {
        let response = server.send(encoded(coding, body)).await;
        assert_eq!(response.class(), 42, "{coding}");
    }
    let list = json!({"images": [base64(&grey(9))]}).to_string();
    let response = server.send(encoded("gzip", gzip(list.as_bytes()))).await;
    assert_eq!(class(&response.json[0]), 9);
}

#[tokio::test]
async fn unknown_codings_and_damaged_bodies() {
    let server = server().await;
    let response = server.send(encoded("compress", grey(1))).await;
    response.assert_problem(415, "unsupported-encoding");
    assert_eq!(
        response.header("accept-encoding"),
        "gzip, deflate, br, zstd"
    );
    let half = |mut body: Vec<u8>| {
        body.truncate(body.len() / 2);
        body
    };
    for (coding, body) in [
        ("gzip", grey(1)),
        ("gzip", half(gzip(&grey(1)))),
        ("deflate", grey(1)),
        ("br", half(brotli(&grey(1)))),
        ("zstd", grey(1)),
        ("zstd", half(zstd(&grey(1)))),
    ] {
        let response = server.send(encoded(coding, body)).await;
        response.assert_problem(400, "malformed-request");
    }
    assert_eq!(server.post(grey(6)).await.class(), 6);
}

#[tokio::test]
async fn the_limits_apply_to_the_decoded_bytes() {
    let server = server().await;
    let most = limits().max_body;
    for (coding, encode) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let bomb = encode(&vec![0; most + 1]);
        assert!(bomb.len() < most / 50, "{coding}");
        let response = server.send(encoded(coding, bomb)).await;
        response.assert_problem(413, "body-too-large");
        // A body of exactly the limit is decoded, and then is not an image.
        let response = server.send(encoded(coding, encode(&vec![0; most]))).await;
        response.assert_problem(415, "unsupported-format");
    }
    // A frame header that asks for a window of 2 GiB.
    let window = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00".to_vec();
    let response = server.send(encoded("zstd", window)).await;
    response.assert_problem(413, "body-too-large");

    let mut small = limits();
    small.body_memory = small.max_body + (128 << 10);
    let server = server_with(small, |_| Ok(())).await;
    let mut held = server.serving.admission().bytes();
    held.grow(most / 2).unwrap();
    let large = gzip(&vec![0; most / 2 + 1]);
    let response = server.send(encoded("gzip", large.clone())).await;
    response.assert_problem(429, "overloaded");
    drop(held);
    let response = server.send(encoded("gzip", large)).await;
    response.assert_problem(415, "unsupported-format");
}
