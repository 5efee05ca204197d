//! Damaged requests: whatever is wrong with them is the client's error.

use axum::body::to_bytes;
use axum::http::Request;
use serde_json::{Value, json};

use super::tensors::all;
use crate::support::server::server;

/// A sequence of numbers that looks random and is the same in every run.
struct Numbers(u64);

impl Numbers {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// The same bytes with a change at some place.
    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        const PIECES: [&[u8]; 8] = [
            b"[",
            b"}",
            b"\"",
            b"-1",
            b"9999999999999999999",
            b"null",
            b"1e400",
            b"\xff",
        ];
        let mut bytes = bytes.to_vec();
        let at = self.below(bytes.len());
        let end = (at + self.below(9)).min(bytes.len());
        match self.below(4) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes
                .splice(at..at, PIECES[self.below(8)].to_vec())
                .for_each(drop),
            _ => bytes
                .splice(at..end, PIECES[self.below(8)].to_vec())
                .for_each(drop),
        }
        bytes
    }
}

#[tokio::test]
async fn a_damaged_request_is_never_an_error_of_the_server() {
    let server = server().await;
    let mut numbers = Numbers(88_172_645_463_325_252);
    let more = json!({
        "id": "1", "parameters": {"binary_data_output": true, "priority": 1},
        "outputs": [{"name": "logits", "parameters": {"classification": 2}}],
    });
    let mut statuses = [0; 2];
    for tensor in all(&[7, 8]) {
        // Large JSON is mostly elements, which are all alike.
        let texts = [tensor.as_json(&more), tensor.as_binary(&more)];
        for request in texts {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let json = head.headers.get("inference-header-content-length");
            let json = json.and_then(|length| length.to_str().ok()?.parse().ok());
            let front = json.unwrap_or(body.len()).min(300);
            for _ in 0..40 {
                let damaged = numbers.damaged(&body[..front]);
                let damaged = [&damaged[..], &body[front..]].concat();
                let mut head = head.clone();
                if json.is_some() && numbers.below(2) == 0 {
                    let length = (front + damaged.len()).saturating_sub(body.len());
                    let name = "inference-header-content-length";
                    head.headers.insert(name, length.into());
                }
                let shown = String::from_utf8_lossy(&damaged[..front.min(damaged.len())]);
                let shown = shown.into_owned();
                let response = server.send(Request::from_parts(head, damaged.into())).await;
                match response.status.as_u16() {
                    200 => statuses[0] += 1,
                    400 => statuses[1] += 1,
                    status => panic!("{status} {}: {shown}", response.text),
                }
                if response.status == 400 {
                    assert!(response.json["error"].is_string(), "{}", response.text);
                }
            }
        }
    }
    assert!(statuses.iter().all(|&count| count > 50), "{statuses:?}");
    let next = &all(&[9])[0];
    assert_eq!(server.send(next.as_json(&Value::Null)).await.status, 200);
}
