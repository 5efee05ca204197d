//! Health checks, and how errors that no method finds look to a client.

use futures_util::stream;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::support::grpc::Client;
use crate::support::grpc::health::health_check_response::ServingStatus;
use crate::support::grpc::health::{HealthCheckRequest, HealthCheckResponse};
use crate::support::listening::{LONG, connections, listen};
use crate::support::loader::spec;
use crate::support::network::FakeNetwork;
use crate::support::server::{MODEL, Server, limits, server};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

async fn check(client: &Client, service: &str) -> Result<ServingStatus, Status> {
    let response: HealthCheckResponse = client.call(CHECK, request(service)).await?;
    Ok(response.status())
}

#[tokio::test]
async fn the_server_its_services_and_its_models_have_a_status() {
    let server = Server::new(limits(), None, 2);
    server.files.write(MODEL, 1, FakeNetwork::new);
    server.files.gate(MODEL).close();
    server.apply(vec![spec(MODEL)]);
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    for service in ["", "inference.GRPCInferenceService", MODEL] {
        let status = check(&client, service).await.unwrap();
        assert_eq!(status, ServingStatus::NotServing, "{service}");
    }
    server.files.gate(MODEL).open();
    server.serving.registry().wait_until_loaded().await;
    for service in ["", "grpc.health.v1.Health", MODEL] {
        let status = check(&client, service).await.unwrap();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let unknown = check(&client, "cats").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    server.serving.leave();
    let status = check(&client, "").await.unwrap();
    assert_eq!(status, ServingStatus::NotServing);
}

#[tokio::test]
async fn a_watch_reports_each_change_and_ends_with_the_server() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let requests = stream::iter([request("")]);
    let mut statuses = client.stream(WATCH, requests).await.unwrap();
    let mut next = async || {
        let next: Option<HealthCheckResponse> = statuses.message().await.unwrap();
        next.map(|response| response.status())
    };
    assert_eq!(next().await, Some(ServingStatus::Serving));
    server.serving.leave();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    listening.stop.send(()).unwrap();
    assert_eq!(next().await, None);
    timeout(LONG, listening.sockets).await.unwrap().unwrap();

    let unknown = stream::iter([request("cats")]);
    let server = crate::support::server::server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let mut statuses = client.stream(WATCH, unknown).await.unwrap();
    let first: Option<HealthCheckResponse> = statuses.message().await.unwrap();
    assert_eq!(first.unwrap().status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn open_streams_and_what_they_keep_are_limited() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    let client = Client::new(&listening).await;
    let watch = async |service: &str| -> Result<Streaming<HealthCheckResponse>, Status> {
        client.stream(WATCH, stream::iter([request(service)])).await
    };
    let long = watch(&"a".repeat(4096)).await.unwrap_err();
    assert_eq!(long.code(), Code::ResourceExhausted, "{long}");
    let mut open = watch("").await.unwrap();
    assert!(open.message().await.unwrap().is_some());
    let second = watch("").await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted, "{second}");
    // Other requests have places of their own.
    let check: Result<HealthCheckResponse, Status> = client.call(CHECK, request("")).await;
    assert_eq!(check.unwrap().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn unknown_methods_and_broken_messages_are_errors_of_grpc() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    for path in ["/grpc.health.v1.Health/Chat", "/cats.Cats/Meow"] {
        let status = client
            .call::<_, HealthCheckResponse>(path, request(""))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
    }
    // A field of another type.
    let broken = crate::support::grpc::inference::ServerReadyResponse { ready: true };
    let status = client
        .call::<_, HealthCheckResponse>(CHECK, broken)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let counted = r#"resnet_requests_total{route="/grpc.health.v1.Health/Check",status="400",protocol="grpc"}"#;
    server.wait_for_metric(counted, 1.0).await;
}
