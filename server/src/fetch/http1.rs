//! One request of HTTP/1.1 on a connection of its own, and its response.

use std::io;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use url::{Position, Url};

use super::error::FetchError;
use crate::core::admission::ByteShare;

/// Bytes and number of the headers of a response.
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;

/// The response to a request. Its connection is closed when it is dropped.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: BodyDataStream,
    connection: JoinHandle<()>,
}

impl Drop for Response {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Asks for a URL.
pub(super) async fn get<S>(stream: S, url: &Url) -> io::Result<Response>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // Errors of the connection are also those of the response.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(
            header::HOST,
            &url[Position::BeforeHost..Position::AfterPort],
        )
        .header(header::ACCEPT, "image/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(
            header::USER_AGENT,
            concat!("resnet/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(io::Error::other)?;
    let sent = sender.send_request(request).await;
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            connection.abort();
            return Err(io::Error::other(error));
        }
    };
    let (head, body) = response.into_parts();
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: Body::new(body).into_data_stream(),
        connection,
    })
}

impl Response {
    /// The whole body of at most `most` bytes. The capacity of the buffer is counted in
    /// `share` as bytes arrive; at most a quarter of it is spare.
    pub(super) async fn read(
        mut self,
        most: usize,
        share: &mut ByteShare,
    ) -> Result<Bytes, FetchError> {
        let length = self.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > most) {
            return Err(FetchError::TooLarge(most));
        }
        let mut whole = Vec::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk.map_err(|_| FetchError::Unreachable)?;
            let arrived = whole.len() + chunk.len();
            if arrived > most {
                return Err(FetchError::TooLarge(most));
            }
            if arrived > whole.capacity() {
                let capacity = (arrived + arrived / 4).min(length.unwrap_or(most).max(arrived));
                share.grow(capacity - whole.capacity())?;
                // Exactly: a buffer that doubles would hold more than is counted.
                whole.reserve_exact(capacity - whole.len());
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }
}
