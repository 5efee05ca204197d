//! What is said about the server and its models, and loading them.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use prost::Message;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;
use tonic::Code;
use tower::ServiceExt;

use crate::support::client::grey;
use crate::support::grpc::inference as proto;
use crate::support::grpc::{Client, images};
use crate::support::listening::{connections, listen};
use crate::support::network::{CLASSES, SIDE};
use crate::support::server::{MODEL, Server, server};

macro_rules! path {
    ($method:literal) => {
        concat!("/inference.GRPCInferenceService/", $method)
    };
}

#[tokio::test]
async fn metadata_and_configuration_agree() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let live: proto::ServerLiveResponse = client
        .call(path!("ServerLive"), proto::ServerLiveRequest {})
        .await
        .unwrap();
    assert!(live.live);
    let about: proto::ServerMetadataResponse = client
        .call(path!("ServerMetadata"), proto::ServerMetadataRequest {})
        .await
        .unwrap();
    assert_eq!(about.name, "resnet");
    assert!(about.extensions.contains(&"statistics".to_owned()));
    let request = proto::ModelMetadataRequest {
        name: MODEL.into(),
        version: "1".into(),
    };
    let metadata: proto::ModelMetadataResponse =
        client.call(path!("ModelMetadata"), request).await.unwrap();
    let side = i64::from(SIDE);
    assert_eq!(metadata.versions, ["1"]);
    assert_eq!(metadata.inputs[0].shape, [-1, side, side, 3]);
    assert_eq!(metadata.outputs[0].shape, [-1, CLASSES as i64]);
    let request = proto::ModelConfigRequest {
        name: MODEL.into(),
        ..Default::default()
    };
    let config: proto::ModelConfigResponse =
        client.call(path!("ModelConfig"), request).await.unwrap();
    let config = config.config.unwrap();
    assert_eq!(config.max_batch_size, 8);
    assert_eq!(config.input[0].dims, [side, side, 3]);
    assert_eq!(config.input[0].data_type(), proto::DataType::TypeUint8);
    assert_eq!(config.input[0].format(), proto::model_input::Format::Nhwc);
    assert_eq!(config.output[0].dims, [CLASSES as i64]);
}

#[tokio::test]
async fn an_unknown_model_is_not_ready_and_has_no_metadata() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    for (name, version, ready) in [(MODEL, "", true), (MODEL, "2", false), ("cats", "", false)] {
        let request = proto::ModelReadyRequest {
            name: name.into(),
            version: version.into(),
        };
        let found: proto::ModelReadyResponse =
            client.call(path!("ModelReady"), request).await.unwrap();
        assert_eq!(found.ready, ready, "{name} {version}");
    }
    let request = proto::ModelMetadataRequest {
        name: "cats".into(),
        ..Default::default()
    };
    let status = client
        .call::<_, proto::ModelMetadataResponse>(path!("ModelMetadata"), request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(
        status.message(),
        "Request for unknown model: 'cats' is not found"
    );
}

#[tokio::test]
async fn statistics_count_requests_and_images() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let two = images(&[grey(1), grey(2)]);
    let _: proto::ModelInferResponse = client.call(path!("ModelInfer"), two).await.unwrap();
    let all = proto::ModelStatisticsRequest::default();
    let found: proto::ModelStatisticsResponse =
        client.call(path!("ModelStatistics"), all).await.unwrap();
    let [model] = &found.model_stats[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*model.name, &*model.version), (MODEL, "1"));
    assert_eq!(model.inference_count, 2);
    let stats = model.inference_stats.as_ref().unwrap();
    let count = stats.success.as_ref().unwrap().count;
    assert!(count > 0);
    for step in [
        &stats.compute_input,
        &stats.compute_infer,
        &stats.compute_output,
    ] {
        assert_eq!(step.as_ref().unwrap().count, count);
    }
    let unknown = proto::ModelStatisticsRequest {
        name: MODEL.into(),
        version: "9".into(),
    };
    let status = client
        .call::<_, proto::ModelStatisticsResponse>(path!("ModelStatistics"), unknown)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn extensions_that_the_server_lacks_are_unimplemented() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    for path in [path!("SystemSharedMemoryRegister"), path!("TraceSetting")] {
        let status = client
            .call::<_, proto::ServerLiveResponse>(path, proto::ServerLiveRequest {})
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

/// As over REST. Clients ask before their first request.
#[tokio::test]
async fn there_are_no_regions_of_shared_memory() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    // A name of a region, in the field that all these requests have.
    let region = proto::ModelReadyRequest {
        name: "region".into(),
        version: String::new(),
    };
    for path in [
        path!("SystemSharedMemoryStatus"),
        path!("SystemSharedMemoryUnregister"),
        path!("CudaSharedMemoryStatus"),
        path!("CudaSharedMemoryUnregister"),
    ] {
        let answer = client.call::<_, proto::ModelReadyRequest>(path, region.clone());
        assert_eq!(
            answer.await.unwrap(),
            proto::ModelReadyRequest::default(),
            "{path}"
        );
    }
}

/// Calls a method of the admin listener; returns the status of gRPC.
async fn admin(server: &Server, path: &str, request: &impl Message) -> String {
    let message = request.encode_to_vec();
    let length = (message.len() as u32).to_be_bytes();
    let body = [&[0][..], &length, &message].concat();
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .body(Body::from(body))
        .unwrap();
    let router = routes::admin(Arc::clone(&server.serving), &Protocols::default());
    let response = router.oneshot(request).await.unwrap();
    if let Some(status) = response.headers().get("grpc-status") {
        return status.to_str().unwrap().to_owned();
    }
    to_bytes(response.into_body(), usize::MAX).await.unwrap();
    "0".to_owned()
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_on_the_admin_listener_only() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let unload = proto::RepositoryModelUnloadRequest {
        model_name: MODEL.into(),
        ..Default::default()
    };
    let status = client
        .call::<_, proto::RepositoryModelUnloadResponse>(
            path!("RepositoryModelUnload"),
            unload.clone(),
        )
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let index = async || {
        let request = proto::RepositoryIndexRequest::default();
        let index: proto::RepositoryIndexResponse = client
            .call(path!("RepositoryIndex"), request)
            .await
            .unwrap();
        index.models[0].state.clone()
    };
    assert_eq!(index().await, "READY");
    assert_eq!(
        admin(&server, path!("RepositoryModelUnload"), &unload).await,
        "0"
    );
    assert_eq!(index().await, "UNAVAILABLE");
    // As KServe's clients name it.
    let load = proto::RepositoryModelLoadRequest {
        repository_name: MODEL.into(),
        ..Default::default()
    };
    assert_eq!(
        admin(&server, path!("RepositoryModelLoad"), &load).await,
        "0"
    );
    assert_eq!(index().await, "READY");
    let unknown = proto::RepositoryModelLoadRequest {
        model_name: "cats".into(),
        ..Default::default()
    };
    assert_eq!(
        admin(&server, path!("RepositoryModelLoad"), &unknown).await,
        "5"
    );
}
