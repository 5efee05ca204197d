//! TorchServe's gRPC: the JSON of REST in messages, streams, and errors.

use std::time::Duration;

use futures_util::stream;
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::support::client::{base64, grey, post};
use crate::support::grpc::Client;
use crate::support::grpc::torchserve::inference::{
    PredictionResponse, PredictionsRequest, TorchServeHealthResponse,
};
use crate::support::listening::{connections, listen};
use crate::support::server::{Server, limits, server, server_with};

const PING: &str = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping";
const PREDICTIONS: &str = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions";
const STREAM: &str = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions";
const STREAM_2: &str = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions2";

fn request(value: impl Into<Vec<u8>>) -> PredictionsRequest {
    PredictionsRequest {
        model_name: "fake".into(),
        input: [("data".to_owned(), value.into().into())].into(),
        ..PredictionsRequest::default()
    }
}

async fn client(server: &Server) -> Client {
    Client::owning(listen(server, connections(10)).await).await
}

async fn predict(client: &Client, request: PredictionsRequest) -> Result<String, Status> {
    let response: PredictionResponse = client.call(PREDICTIONS, request).await?;
    assert!(response.status.is_none() && response.sequence_id.is_none());
    Ok(String::from_utf8(response.prediction.to_vec()).unwrap())
}

#[tokio::test]
async fn a_prediction_is_the_json_of_rest() {
    let server = server().await;
    let client = client(&server).await;
    let instances = json!({"instances": [{"data": base64(&grey(7))}, {"data": base64(&grey(9))}]});
    for value in [
        grey(7),
        base64(&grey(7)).into_bytes(),
        json!({"data": base64(&grey(7))}).to_string().into_bytes(),
        instances.to_string().into_bytes(),
    ] {
        let rest = server.send(post("/predictions/fake", value.clone())).await;
        assert_eq!(rest.status, 200, "{}", rest.text);
        let mut request = request(value);
        assert_eq!(predict(&client, request.clone()).await.unwrap(), rest.text);
        request.model_version = "1.0".into();
        let image = request.input.remove("data").unwrap();
        request.input.insert("body".into(), image);
        assert_eq!(predict(&client, request).await.unwrap(), rest.text);
    }
    let answer = predict(&client, request(grey(7))).await.unwrap();
    assert!(answer.starts_with("{\n  \"grey_7\": 0.99"), "{answer}");
}

#[tokio::test]
async fn a_ping_says_whether_the_server_is_ready() {
    let server = server().await;
    let client = client(&server).await;
    let ping = async || {
        let response: TorchServeHealthResponse = client.call(PING, ()).await.unwrap();
        response.health
    };
    assert_eq!(ping().await, "{\n  \"status\": \"Healthy\"\n}\n");
    server.serving.leave();
    assert_eq!(ping().await, "{\n  \"status\": \"Unhealthy\"\n}\n");
}

#[tokio::test]
async fn a_stream_of_responses_has_one() {
    let server = server().await;
    let client = client(&server).await;
    let requests = stream::iter([request(grey(7))]);
    let mut responses = client.stream(STREAM, requests).await.unwrap();
    let first: PredictionResponse = responses.message().await.unwrap().unwrap();
    let expected = predict(&client, request(grey(7))).await.unwrap();
    assert_eq!(first.prediction, expected);
    assert!(responses.message().await.unwrap().is_none());
    let unknown = PredictionsRequest {
        model_name: "cats".into(),
        ..request(grey(7))
    };
    let sent = client.stream::<_, PredictionResponse>(STREAM, stream::iter([unknown]));
    assert_eq!(sent.await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn each_request_of_a_stream_has_a_response_or_a_status() {
    let server = server().await;
    let client = client(&server).await;
    let sequence = |value: Vec<u8>| PredictionsRequest {
        sequence_id: Some("s".into()),
        ..request(value)
    };
    let requests = [
        sequence(grey(1)),
        sequence(b"no image".to_vec()),
        sequence(grey(3)),
    ];
    let mut responses = client
        .stream(STREAM_2, stream::iter(requests))
        .await
        .unwrap();
    for label in [Some("grey_1"), None, Some("grey_3")] {
        let response: PredictionResponse = responses.message().await.unwrap().unwrap();
        let text = String::from_utf8(response.prediction.to_vec()).unwrap();
        match label {
            Some(label) => {
                assert!(text.contains(label), "{text}");
                assert_eq!(response.status, None);
            }
            None => {
                let status = response.status.unwrap();
                assert_eq!(status.code, Code::InvalidArgument as i32, "{status:?}");
                assert!(!status.message.is_empty() && text.is_empty());
            }
        }
    }
    assert!(responses.message().await.unwrap().is_none());
}

#[tokio::test]
async fn errors_have_the_words_of_torchserve() {
    let server = server().await;
    let client = client(&server).await;
    let of = |name: &str, version: &str| PredictionsRequest {
        model_name: name.into(),
        model_version: version.into(),
        ..request(grey(7))
    };
    let no_input = PredictionsRequest {
        input: [("image".to_owned(), grey(7).into())].into(),
        ..request("")
    };
    let many = vec![json!({"data": base64(&grey(7))}); 9];
    let many = json!({"instances": many}).to_string();
    for (request, code, text) in [
        (of("cats", ""), Code::NotFound, "Model not found: cats"),
        (
            of("fake", "2.0"),
            Code::NotFound,
            "Model version: 2 does not exist for model: fake",
        ),
        (
            of("fake", "x"),
            Code::NotFound,
            "Model version: x does not exist for model: fake",
        ),
        (
            of("", ""),
            Code::InvalidArgument,
            "Parameter model_name is required.",
        ),
        (no_input, Code::InvalidArgument, "neither an input `data`"),
        (request(""), Code::InvalidArgument, "no image"),
        (request("no image"), Code::InvalidArgument, ""),
        (request("{"), Code::InvalidArgument, ""),
        (request(many), Code::InvalidArgument, "1 to 8"),
    ] {
        let status = predict(&client, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}: {text}");
    }
    let route = "route=\"/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions\"";
    let counted = format!(r#"resnet_requests_total{{{route},status="404",protocol="grpc"}}"#);
    assert_eq!(server.metric(&counted).await, 3.0);
}

#[tokio::test]
async fn limits_and_deadlines_hold() {
    let mut limits = limits();
    (limits.max_in_flight, limits.max_images) = (2, 2);
    let server = server_with(limits.clone(), |_| Ok(())).await;
    let client = client(&server).await;
    let large = predict(&client, request(vec![0; limits.max_body])).await;
    assert_eq!(large.unwrap_err().code(), Code::ResourceExhausted);
    // JSON that is copied counts as memory of bodies.
    let json = json!({"data": "A".repeat(limits.max_body / 4)});
    let json = request(json.to_string());
    let mut held = server.serving.admission().bytes();
    held.grow(limits.body_memory - limits.max_body).unwrap();
    let full = predict(&client, json.clone()).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    drop(held);
    let read = predict(&client, json).await.unwrap_err();
    assert_eq!(read.code(), Code::InvalidArgument, "{read}");

    let first = server.occupy_device().await;
    let instances = json!({"instances": vec![json!({"data": base64(&grey(7))}); 2]});
    let full = predict(&client, request(instances.to_string())).await;
    assert_eq!(full.unwrap_err().code(), Code::ResourceExhausted);
    let mut late = Request::new(request(grey(4)));
    late.set_timeout(Duration::from_millis(50));
    let late = client
        .send::<_, PredictionResponse>(PREDICTIONS, late)
        .await;
    let code = late.unwrap_err().code();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&code),
        "{code}"
    );
    server.network().gate.open();
    assert_eq!(first.await.unwrap().class(), 1);
    server.wait_for_metric("resnet_images_in_flight", 0.0).await;
    assert_eq!(server.batches(), [[1]]);
}
