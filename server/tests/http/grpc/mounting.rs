//! Which services each choice of protocols has, on both listeners: methods, health
//! checks, reflection and metrics.

use std::sync::Arc;

use resnet_server::http::protocol::{Paths, Protocol, Protocols};
use resnet_server::http::routes;
use tonic::Code;

use super::reflection::services;
use crate::support::client::{get, send_of};
use crate::support::grpc::Client;
use crate::support::grpc::health::{HealthCheckRequest, HealthCheckResponse};
use crate::support::listening::{connections, listen_to};
use crate::support::server::{Server, server};

const TORCHSERVE: &str = "org.pytorch.serve.grpc.inference.InferenceAPIsService";
const MANAGEMENT: &str = "org.pytorch.serve.grpc.management.ManagementAPIsService";
const TENSORFLOW: &str = "tensorflow.serving.PredictionService";
const MODELS: &str = "tensorflow.serving.ModelService";
const OIP: &str = "inference.GRPCInferenceService";

/// A method of each service.
const METHODS: [(&str, &str); 5] = [
    (OIP, "/inference.GRPCInferenceService/ServerLive"),
    (
        TORCHSERVE,
        "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping",
    ),
    (
        MANAGEMENT,
        "/org.pytorch.serve.grpc.management.ManagementAPIsService/ListModels",
    ),
    (TENSORFLOW, "/tensorflow.serving.PredictionService/Predict"),
    (MODELS, "/tensorflow.serving.ModelService/GetModelStatus"),
];

async fn client(server: &Server, protocols: &str, is_admin: bool) -> Client {
    let protocols = Protocols::parse(protocols).unwrap();
    let router = match is_admin {
        true => routes::admin(Arc::clone(&server.serving), &protocols),
        false => routes::public(Arc::clone(&server.serving), &protocols),
    };
    Client::owning(listen_to(server, router, connections(10)).await).await
}

/// Whether a method exists. The request has no fields, which is wrong for some.
async fn exists(client: &Client, path: &'static str) -> bool {
    let sent = client.call::<(), ()>(path, ()).await;
    sent.map_or_else(|status| status.code() != Code::Unimplemented, |()| true)
}

#[tokio::test]
async fn a_service_needs_its_protocol_and_grpc() {
    let server = server().await;
    for (protocols, is_admin, expected) in [
        ("grpc", false, &[OIP][..]),
        ("grpc,torchserve", false, &[OIP, TORCHSERVE]),
        ("grpc,torchserve", true, &[OIP, MANAGEMENT]),
        ("grpc,tensorflow-serving", false, &[OIP, TENSORFLOW, MODELS]),
        ("grpc,tensorflow-serving", true, &[OIP]),
        ("all", false, &[OIP, TORCHSERVE, TENSORFLOW, MODELS]),
        ("all", true, &[OIP, MANAGEMENT]),
    ] {
        let client = client(&server, protocols, is_admin).await;
        let listed = services(&client).await;
        for (service, method) in METHODS {
            let has = expected.contains(&service);
            let shown = format!("{protocols} {is_admin} {service}");
            assert_eq!(exists(&client, method).await, has, "{shown}");
            assert_eq!(listed.iter().any(|name| name == service), has, "{shown}");
            let request = HealthCheckRequest {
                service: service.into(),
            };
            let path = "/grpc.health.v1.Health/Check";
            let checked = client.call::<_, HealthCheckResponse>(path, request).await;
            assert_eq!(checked.is_ok(), has, "{shown}");
        }
        assert_eq!(listed.len(), expected.len() + 3, "{listed:?}");
    }
    let without = client(&server, "torchserve,tensorflow-serving", false).await;
    for (service, method) in METHODS {
        assert!(!exists(&without, method).await, "{service}");
    }
}

#[tokio::test]
async fn each_protocol_has_counters_from_the_start() {
    let counted = async |protocols: &Protocols| {
        let server = server().await;
        let page = send_of(&server.serving, protocols, get("/metrics"))
            .await
            .text;
        let zero = |line: &&str| line.starts_with("resnet_requests_total{") && line.ends_with(" 0");
        let lines: Vec<String> = page.lines().filter(zero).map(str::to_owned).collect();
        lines
    };
    let vertex = Paths {
        health: None,
        predict: Some("/vertex".into()),
    };
    let all = counted(&Protocols::default().with_vertex_paths(vertex)).await;
    for protocol in Protocol::ALL {
        // TorchServe has the route of SageMaker.
        let has = protocol != Protocol::SageMaker;
        let label = format!("status=\"200\",protocol=\"{}\"", protocol.name());
        let found = all.iter().filter(|line| line.contains(&label)).count();
        assert_eq!(found > 0, has, "{label}: {all:#?}");
    }
    for (_, method) in [METHODS[1], METHODS[3]] {
        let service = method.rsplit_once('/').unwrap().0;
        assert!(all.iter().any(|line| line.contains(service)), "{method}");
    }
    let native = counted(&Protocols::parse("native").unwrap()).await;
    assert_eq!(native.len(), 3, "{native:#?}");
    let sagemaker = counted(&Protocols::parse("sagemaker").unwrap()).await;
    assert_eq!(sagemaker.len(), 4, "{sagemaker:#?}");
}
