//! Reflection: clients learn the services from the server.

use futures_util::stream;
use prost::Message;

use crate::support::grpc::Client;
use crate::support::listening::{connections, listen};
use crate::support::server::server;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The request to list all services: field 7 is a string.
#[derive(Clone, PartialEq, Message)]
struct ListServices {
    #[prost(string, tag = "7")]
    list_services: String,
}

#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, optional, tag = "6")]
    response: Option<Services>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

/// The services that are listed.
pub(super) async fn services(client: &Client) -> Vec<String> {
    listed(client, V1).await
}

async fn listed(client: &Client, path: &'static str) -> Vec<String> {
    let list_services = "*".to_owned();
    let requests = stream::iter([ListServices { list_services }]);
    let mut responses = client.stream(path, requests).await.unwrap();
    let listed: Listed = responses.message().await.unwrap().unwrap();
    let services = listed.response.unwrap().services;
    services.into_iter().map(|service| service.name).collect()
}

#[tokio::test]
async fn both_versions_list_the_services() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    for path in [V1, V1_ALPHA] {
        let names = listed(&client, path).await;
        for name in [
            "grpc.health.v1.Health",
            "inference.GRPCInferenceService",
            "org.pytorch.serve.grpc.inference.InferenceAPIsService",
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
        ] {
            assert!(names.iter().any(|found| found == name), "{path}: {names:?}");
        }
    }
}
