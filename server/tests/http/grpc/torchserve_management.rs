//! TorchServe's management of models over gRPC, on the admin listener.

use std::sync::Arc;

use prost::Message;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use serde_json::Value;
use tonic::{Code, Status};

use crate::support::client::{get, grey, send_admin_of};
use crate::support::grpc::Client;
use crate::support::grpc::torchserve::management as proto;
use crate::support::listening::{connections, listen, listen_to};
use crate::support::network::FakeNetwork;
use crate::support::server::{Server, server};

macro_rules! path {
    ($method:literal) => {
        concat!(
            "/org.pytorch.serve.grpc.management.ManagementAPIsService/",
            $method
        )
    };
}

async fn admin(server: &Server) -> Client {
    let router = routes::admin(Arc::clone(&server.serving), &Protocols::default());
    Client::owning(listen_to(server, router, connections(10)).await).await
}

async fn ask<Q: Message + 'static>(
    client: &Client,
    path: &'static str,
    request: Q,
) -> Result<String, Status> {
    let response: proto::ManagementResponse = client.call(path, request).await?;
    Ok(response.msg)
}

fn registration(name: &str) -> proto::RegisterModelRequest {
    proto::RegisterModelRequest {
        url: "resnet50_thin".into(),
        model_name: name.into(),
        initial_workers: 1,
        synchronous: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn the_list_and_the_descriptions_are_those_of_rest() {
    let server = server().await;
    let client = admin(&server).await;
    let protocols = Protocols::parse("torchserve").unwrap();
    let rest = async |path: &str| {
        let response = send_admin_of(&server.serving, &protocols, get(path)).await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.text
    };
    let list = proto::ListModelsRequest::default();
    let list = ask(&client, path!("ListModels"), list).await.unwrap();
    assert_eq!(list, rest("/models").await);
    for (version, path) in [("", ""), ("1", "/1"), ("all", "/all")] {
        let request = proto::DescribeModelRequest {
            model_name: "fake".into(),
            model_version: version.into(),
            customized: false,
        };
        let found = ask(&client, path!("DescribeModel"), request).await.unwrap();
        assert_eq!(found, rest(&format!("/models/fake{path}")).await);
        let json: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(json[0]["modelVersion"], "1.0");
    }
}

#[tokio::test]
async fn models_are_registered_scaled_and_unregistered() {
    let server = server().await;
    server
        .files
        .write("dogs", 1, || FakeNetwork::with_offset(50));
    let client = admin(&server).await;
    let done = async |path, request| ask(&client, path, request).await;
    let text = done(path!("RegisterModel"), registration("dogs")).await;
    assert_eq!(
        text.unwrap(),
        "Model \"dogs\" Version: 1.0 registered with 1 initial workers"
    );
    assert_eq!(server.classify("dogs", grey(7)).await.class(), 57);
    let again = done(path!("RegisterModel"), registration("dogs")).await;
    assert_eq!(again.unwrap_err().code(), Code::InvalidArgument);

    let mut scaling = proto::ScaleWorkerRequest {
        model_name: "dogs".into(),
        min_worker: 3,
        ..Default::default()
    };
    let text = ask(&client, path!("ScaleWorker"), scaling.clone()).await;
    assert_eq!(text.unwrap(), "Processing worker updates...");
    (scaling.model_version, scaling.synchronous) = ("1.0".into(), true);
    let text = ask(&client, path!("ScaleWorker"), scaling.clone()).await;
    assert_eq!(
        text.unwrap(),
        "Workers scaled to 3 for model: dogs, version: 1.0"
    );
    scaling.max_worker = 2;
    let status = ask(&client, path!("ScaleWorker"), scaling).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);

    let default = proto::SetDefaultRequest {
        model_name: "dogs".into(),
        model_version: "1.0".into(),
    };
    let text = ask(&client, path!("SetDefault"), default).await.unwrap();
    assert!(text.ends_with("for model \"dogs\" to \"1.0\""), "{text}");
    let removal = proto::UnregisterModelRequest {
        model_name: "dogs".into(),
        model_version: String::new(),
    };
    let text = ask(&client, path!("UnregisterModel"), removal.clone()).await;
    assert_eq!(text.unwrap(), "Model \"dogs\" unregistered");
    let status = ask(&client, path!("UnregisterModel"), removal).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "Model not found: dogs");
}

#[tokio::test]
async fn a_model_that_cannot_be_used_is_not_registered() {
    let server = server().await;
    server.files.write_broken("dogs", 1, "it is corrupt");
    let client = admin(&server).await;
    let url = |url: &str| proto::RegisterModelRequest {
        url: url.into(),
        ..registration("dogs")
    };
    for (request, code, text) in [
        (url(""), Code::InvalidArgument, "Parameter url is required."),
        (url("https://a/b.mar"), Code::InvalidArgument, "url must be"),
        (registration("-"), Code::InvalidArgument, "model_name must"),
        (registration("dogs"), Code::Unavailable, "it is corrupt"),
    ] {
        let status = ask(&client, path!("RegisterModel"), request).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    }
    assert_eq!(server.get("/models/dogs").await.status, 404);
}

#[tokio::test]
async fn models_are_not_managed_on_the_public_listener() {
    let server = server().await;
    let client = Client::owning(listen(&server, connections(10)).await).await;
    for path in [path!("RegisterModel"), path!("ListModels")] {
        let status = ask(&client, path, registration("dogs")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert!(status.message().contains("--admin"), "{status}");
    }
}
