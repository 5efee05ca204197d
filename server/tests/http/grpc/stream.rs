//! `ModelStreamInfer`: responses in order, errors that do not end the stream, and
//! its end.

use futures_util::stream;
use resnet_server::core::keys::Scope;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Request};

use crate::support::client::grey;
use crate::support::grpc::inference::{ModelInferRequest, ModelStreamInferResponse};
use crate::support::grpc::{Client, images};
use crate::support::keys;
use crate::support::listening::{LONG, SHORT, connections, listen};
use crate::support::server::{limits, server, server_with};

const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

fn request(id: &str, files: &[Vec<u8>]) -> ModelInferRequest {
    ModelInferRequest {
        id: id.into(),
        ..images(files)
    }
}

#[tokio::test]
async fn each_request_has_a_response_in_order() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let requests = [
        request("a", &[grey(1)]),
        request("b", &[b"no image".to_vec()]),
        request("c", &[grey(3)]),
    ];
    let mut responses = client.stream(STREAM, stream::iter(requests)).await.unwrap();
    for (id, fails) in [("a", false), ("b", true), ("c", false)] {
        let response: ModelStreamInferResponse = responses.message().await.unwrap().unwrap();
        let infer = response.infer_response.unwrap();
        assert_eq!(infer.id, id);
        assert_eq!(!response.error_message.is_empty(), fails, "{id}");
        assert_eq!(infer.raw_output_contents.is_empty(), fails);
    }
    assert!(responses.message().await.unwrap().is_none());
}

#[tokio::test]
async fn an_id_that_is_too_long_is_an_error_and_is_not_repeated() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
    let requests = [&longest, &too_long].map(|id| request(id, &[grey(1)]));
    let mut responses = client.stream(STREAM, stream::iter(requests)).await.unwrap();
    let first: ModelStreamInferResponse = responses.message().await.unwrap().unwrap();
    assert_eq!(first.infer_response.unwrap().id, longest);
    let second: ModelStreamInferResponse = responses.message().await.unwrap().unwrap();
    assert!(second.error_message.contains("256 bytes"), "{second:?}");
    assert_eq!(second.infer_response.unwrap().id, "");
}

#[tokio::test]
async fn a_message_that_is_cut_off_ends_the_stream() {
    let server = server().await;
    for path in [
        STREAM,
        "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions2",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        // Five bytes are announced, and two follow.
        let cut = axum::body::Body::from(&b"\0\0\0\0\x05ab"[..]);
        let request = axum::http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let response = server.send(request.body(cut).unwrap()).await;
        assert_eq!(response.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_shutdown_answers_what_has_arrived_and_ends_the_stream() {
    let server = server().await;
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let (sender, receiver) = mpsc::channel(2);
    let requests = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let mut responses = client.stream(STREAM, requests).await.unwrap();
    server.network().gate.close();
    sender.send(request("a", &[grey(1)])).await.unwrap();
    server.wait_for_metric("resnet_images_in_flight", 1.0).await;
    listening.stop.send(()).unwrap();
    server.network().gate.open();
    let response: ModelStreamInferResponse = responses.message().await.unwrap().unwrap();
    assert_eq!(response.infer_response.unwrap().id, "a");
    let end = responses.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    timeout(LONG, listening.sockets).await.unwrap().unwrap();
    drop(sender);
}

#[tokio::test]
async fn a_stream_of_an_absent_client_holds_nothing() {
    let server = server().await;
    let listening = listen(&server, connections(1)).await;
    let client = Client::new(&listening).await;
    let (sender, receiver) = mpsc::channel::<ModelInferRequest>(2);
    let requests = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let responses = client.stream::<_, ModelStreamInferResponse>(STREAM, requests);
    let _responses = responses.await.unwrap();
    // The stream is open and idle; the only place is free.
    let image = grey(42);
    let head = crate::support::listening::head(image.len());
    let response = listening.exchange(&head, &image).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    drop(sender);
}

#[tokio::test]
async fn an_idle_stream_ends_and_few_of_them_leave_room_for_others() {
    let mut limits = limits();
    limits.stream_timeout = SHORT;
    let server = server_with(limits, |_| Ok(())).await;
    let listening = listen(&server, connections(2)).await;
    let client = Client::new(&listening).await;
    let (sender, receiver) = mpsc::channel::<ModelInferRequest>(2);
    let requests = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let mut idle = client
        .stream::<_, ModelStreamInferResponse>(STREAM, requests)
        .await
        .unwrap();
    // Streams may take half of the connections.
    let second = client
        .stream::<_, ModelStreamInferResponse>(STREAM, stream::pending::<ModelInferRequest>());
    let second = second.await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted, "{second}");
    let end = timeout(LONG, idle.message()).await.unwrap();
    assert!(end.unwrap().is_none(), "the stream was not idle");
    let again = client
        .stream::<_, ModelStreamInferResponse>(STREAM, stream::iter([request("a", &[grey(1)])]));
    let response = again.await.unwrap().message().await.unwrap().unwrap();
    assert_eq!(response.infer_response.unwrap().id, "a");
    drop(sender);
}

#[tokio::test]
async fn each_message_is_a_request_of_its_key() {
    let server = server().await;
    let key = |secret| keys::key("shop", secret, &[Scope::Infer], keys::rate(1));
    server.serving.keys().replace(vec![key("secret")]);
    let listening = listen(&server, connections(10)).await;
    let client = Client::new(&listening).await;
    let (sender, receiver) = mpsc::channel(2);
    let requests = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let mut requests = Request::new(requests);
    let secret = "secret".parse().unwrap();
    requests.metadata_mut().insert("x-api-key", secret);
    let mut responses = client.exchange(STREAM, requests).await.unwrap();
    let mut errors = Vec::new();
    for id in ["first", "too soon", "after the key is gone"] {
        if id == "after the key is gone" {
            server.serving.keys().replace(vec![key("another")]);
        }
        sender.send(request(id, &[grey(1)])).await.unwrap();
        let response: ModelStreamInferResponse = responses.message().await.unwrap().unwrap();
        errors.push(response.error_message);
    }
    assert_eq!(errors[0], "");
    assert!(errors[1].contains("1 requests a second"), "{errors:?}");
    assert!(errors[2].contains("not valid"), "{errors:?}");
    // Without keys, the metrics need none.
    server.serving.keys().replace(Vec::new());
    for (metric, count) in [
        (r#"resnet_key_images_total{key="shop"}"#, 1.0),
        // The stream and its first message.
        (r#"resnet_key_requests_total{key="shop",status="200"}"#, 2.0),
        (r#"resnet_key_requests_total{key="shop",status="429"}"#, 1.0),
        (r#"resnet_key_requests_total{key="shop",status="401"}"#, 1.0),
    ] {
        server.wait_for_metric(metric, count).await;
    }
}
