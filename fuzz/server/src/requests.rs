//! Bodies of requests, sent through the routes of the public listener to a server with
//! a fake network. Whatever is wrong with them is the client's error.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use model::ThreadPool;
use resnet_fuzz::measured::{Bounds, within};
use resnet_server::core::limits::Limits;
use resnet_server::core::serving::Serving;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::fakes::loader::{FakeFiles, FakeLoader, spec};
use crate::fakes::network::FakeNetwork;

/// The name of the only model.
const MODEL: &str = "fake";

/// How many bytes of an answer to a wrong request are expected at most, beside what
/// it quotes of the request.
const MOST_REFUSAL: usize = 16 << 10;

/// What the body is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `multipart/form-data` with the boundary `frontier`.
    Multipart,
    /// JSON.
    Json,
    /// JSON of the Open Inference Protocol.
    OipJson,
    /// As that, with tensors after the JSON.
    OipBinary,
    /// A message of gRPC in its frame.
    Grpc,
}

impl Kind {
    /// The routes that such a body is sent to. Its first byte selects one.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Multipart => &[
                "/classify?top_k=3",
                "/embed",
                "/explain",
                "/predictions/fake",
                "/v1/vision/classify/fake",
                "/invocations",
            ],
            Self::Json => &[
                "/classify",
                "/embed",
                "/explain",
                "/v1/models/fake:predict",
                "/v1/models/fake:classify",
                "/predictions/fake",
                "/invocations",
                "/models/fake",
                "/infer/classification",
                "/api/v1/vision/labels",
            ],
            Self::OipJson | Self::OipBinary => &["/v2/models/fake/infer"],
            Self::Grpc => &[
                "/inference.GRPCInferenceService/ModelInfer",
                "/inference.GRPCInferenceService/ModelStreamInfer",
                "/inference.GRPCInferenceService/ModelMetadata",
                "/inference.GRPCInferenceService/ModelConfig",
                "/inference.GRPCInferenceService/ModelStatistics",
                "/inference.GRPCInferenceService/RepositoryIndex",
                "/grpc.health.v1.Health/Check",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ],
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Multipart => "multipart/form-data; boundary=frontier",
            Self::Json | Self::OipJson => "application/json",
            Self::OipBinary => "application/octet-stream",
            Self::Grpc => "application/grpc",
        }
    }

    /// The request with this body.
    fn request(self, bytes: &[u8]) -> Request<Body> {
        let paths = self.paths();
        let (path, body) = match bytes.split_first() {
            Some((first, rest)) if paths.len() > 1 => {
                (paths[usize::from(*first) % paths.len()], rest)
            }
            _ => (paths[0], bytes),
        };
        let request = Request::post(path).header("content-type", self.content_type());
        let request = match self {
            // The first two bytes are the length of the JSON.
            Self::OipBinary => {
                let length = body
                    .first_chunk()
                    .map_or(0, |bytes| u16::from_le_bytes(*bytes));
                let body = body.get(2..).unwrap_or_default();
                return request
                    .header("inference-header-content-length", length)
                    .body(body.to_vec().into())
                    .expect("the request is valid");
            }
            Self::Grpc => request.header("te", "trailers"),
            _ => request,
        };
        let body = body.to_vec();
        request.body(body.into()).expect("the request is valid")
    }
}

/// The server and what its requests run on.
struct Server {
    serving: Arc<Serving>,
    runtime: Runtime,
}

fn limits() -> Limits {
    Limits {
        stream_timeout: Duration::from_secs(20),
        max_in_flight: 64,
        max_batch: 16,
        max_images: 8,
        max_body: 1 << 20,
        body_memory: 4 << 20,
        decode: resnet_fuzz::image::LIMITS,
        request_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let files = Arc::<FakeFiles>::default();
        files.write_shared(MODEL, 1, Arc::new(FakeNetwork::new()));
        let loader = Box::new(FakeLoader(files));
        let pool = ThreadPool::new(1).expect("a thread");
        let serving = Arc::new(Serving::new(limits(), None, pool, loader));
        runtime.block_on(async {
            serving.registry().apply(vec![spec(MODEL)], MODEL);
            serving.registry().wait_until_loaded().await;
        });
        Server { serving, runtime }
    })
}

/// Sends a request with this body.
///
/// # Panics
/// When the answer is an error of the server, or too long.
pub fn send(kind: Kind, bytes: &[u8]) {
    let server = server();
    let request = kind.request(bytes);
    let path = request.uri().clone();
    let bounds = Bounds {
        bytes: (24 << 20) + 32 * bytes.len(),
        seconds: 10.0,
    };
    let (status, body) = within(&bounds, || {
        server.runtime.block_on(async {
            let routes = routes::public(Arc::clone(&server.serving), &Protocols::default());
            let response = routes.oneshot(request).await.expect("infallible");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await;
            (status, body.expect("the body is in memory"))
        })
    });
    let text = || String::from_utf8_lossy(&body).into_owned();
    assert!(!status.is_server_error(), "{path}: {status} {}", text());
    if status != StatusCode::OK {
        let most = MOST_REFUSAL;
        assert!(body.len() <= most, "{path}: {status}, {} bytes", body.len());
    }
}
