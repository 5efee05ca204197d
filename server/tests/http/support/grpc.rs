//! A gRPC client over one HTTP/2 connection, and the messages of the services.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::listening::Listening;

#[allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
mod messages {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/proto/generated/mod.rs"
    ));
}

pub(crate) use messages::grpc::health::v1 as health;
pub(crate) use messages::org::pytorch::serve::grpc as torchserve;
pub(crate) use messages::{inference, tensorflow};

/// A client with one connection.
#[derive(Clone)]
pub(crate) struct Client {
    requests: SendRequest<tonic::body::Body>,
    /// The server, which stops without it.
    _listening: Option<Arc<Listening>>,
}

impl Client {
    pub(crate) async fn new(listening: &Listening) -> Self {
        let io = TokioIo::new(listening.connect().await);
        let (requests, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self {
            requests,
            _listening: None,
        }
    }

    /// A client of a server that nothing else holds.
    pub(crate) async fn owning(listening: Listening) -> Self {
        let client = Self::new(&listening).await;
        Self {
            _listening: Some(Arc::new(listening)),
            ..client
        }
    }

    fn grpc(
        &self,
    ) -> Grpc<
        impl Service<
            axum::http::Request<tonic::body::Body>,
            Response = axum::http::Response<hyper::body::Incoming>,
            Error = hyper::Error,
            Future: Send,
        > + use<>,
    > {
        let requests = self.requests.clone();
        let send = tower::service_fn(move |request| requests.clone().send_request(request));
        Grpc::with_origin(send, "http://a".parse().unwrap())
    }

    /// Calls a method with one request and one response.
    pub(crate) async fn call<Q, R>(&self, path: &'static str, request: Q) -> Result<R, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.send(path, Request::new(request))
            .await
            .map(Response::into_inner)
    }

    pub(crate) async fn send<Q, R>(
        &self,
        path: &'static str,
        request: Request<Q>,
    ) -> Result<Response<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let codec = ProstCodec::<Q, R>::default();
        let mut grpc = self.grpc();
        grpc.ready().await.unwrap();
        grpc.unary(request, path.parse().unwrap(), codec).await
    }

    /// Calls a method with streams of requests and responses.
    pub(crate) async fn stream<Q, R>(
        &self,
        path: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.exchange(path, Request::new(requests)).await
    }

    /// The same, with metadata.
    pub(crate) async fn exchange<Q, R>(
        &self,
        path: &'static str,
        requests: Request<impl Stream<Item = Q> + Send + 'static>,
    ) -> Result<Streaming<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let codec = ProstCodec::<Q, R>::default();
        let mut grpc = self.grpc();
        grpc.ready().await.unwrap();
        let response = grpc.streaming(requests, path.parse().unwrap(), codec);
        response.await.map(Response::into_inner)
    }
}

/// A request with these image files.
pub(crate) fn images(files: &[Vec<u8>]) -> inference::ModelInferRequest {
    let mut raw = Vec::new();
    for file in files {
        raw.extend_from_slice(&(file.len() as u32).to_le_bytes());
        raw.extend_from_slice(file);
    }
    inference::ModelInferRequest {
        model_name: super::server::MODEL.into(),
        inputs: vec![inference::model_infer_request::InferInputTensor {
            name: "image".into(),
            datatype: "BYTES".into(),
            shape: vec![files.len() as i64],
            ..Default::default()
        }],
        raw_input_contents: vec![Bytes::from(raw)],
        ..Default::default()
    }
}
